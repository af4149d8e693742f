# SPDX-License-Identifier: Apache-2.0
"""The order of contenders: who holds, and whom the others watch."""

from __future__ import annotations

import random

import pytest

from zk_executor.locks import order

OWNER = "a" * 12


def name(role: str, sequence: int, where: str = "t", owner: str = OWNER) -> str:
    return f"{role}.{where}.{owner}.{sequence % 2**32:012x}.{sequence:010d}"


def places(*roles: str) -> list[order.Place]:
    return order.in_order(name(role, number) for number, role in enumerate(roles))


def test_names_that_are_not_places_are_left_alone() -> None:
    """Somebody's own nodes below a lock's path neither hold it nor stand in line."""
    strangers = [
        "config",
        "lock-0000000001",
        "x.t.0000000001",
        name("x", 1) + "0",
        "y" + name("x", 1),
    ]
    assert [place.sequence for place in order.in_order([*strangers, name("x", 7)])] == [7]


def test_a_place_keeps_its_turn_when_it_moves() -> None:
    first, second, third = places("x", "x", "x")
    moved = second.moved("d")
    assert moved.where == "d"
    assert order.parse(moved.name) == moved
    assert moved.moved("t") == second
    assert order.in_order([third.name, moved.name, first.name]) == [first, moved, third]


def test_the_order_goes_on_when_zookeepers_counter_overflows() -> None:
    """2147483647 is followed by -2147483648, which ZooKeeper writes with a sign."""
    names = [name("x", number) for number in (2**31 - 2, 2**31 - 1, -(2**31), -(2**31) + 1)]
    assert [place.name for place in order.in_order(reversed(names))] == names
    low = order.parse(name("x", -1))
    assert low is not None and order.parse(low.moved("d").name) == low.moved("d")


def test_one_holds_a_lock_and_each_other_watches_who_is_before_it() -> None:
    line = places("x", "x", "x")
    assert [order.decide(line, me) for me in line] == [
        order.Verdict(True, (), 0),
        order.Verdict(False, (line[0].name,), 1),
        order.Verdict(False, (line[1].name,), 2),
    ]


def test_so_many_hold_a_semaphore_and_only_the_first_in_line_watches_them() -> None:
    line = places("s", "s", "s", "s")
    verdicts = [order.decide(line, me, leases=2) for me in line]
    assert [verdict.holds for verdict in verdicts] == [True, True, False, False]
    assert verdicts[2].watch == (line[0].name, line[1].name)
    assert verdicts[3].watch == (line[2].name,)


def test_readers_share_and_writers_do_not() -> None:
    line = places("r", "r", "w", "r", "w", "r")
    verdicts = [order.decide(line, me) for me in line]
    assert [verdict.holds for verdict in verdicts] == [True, True, False, False, False, False]
    # Readers watch the writer before them, not each other; a reader does not pass a writer.
    assert [verdict.watch for verdict in verdicts[2:]] == [
        (line[1].name,),
        (line[2].name,),
        (line[3].name,),
        (line[4].name,),
    ]


@pytest.mark.parametrize("seed", range(20))
def test_never_too_many_hold_and_nobody_is_forgotten(seed: int) -> None:
    """Any line, any order of leaving: holders fit together, stay holders, and who is told only of
    what it watches still gets its turn."""
    rng = random.Random(seed)
    kind = rng.choice(["x", "s", "rw"])
    leases = rng.randint(1, 4) if kind == "s" else 1
    line = places(*(rng.choice(kind) for _ in range(30)))
    holding: set[str] = set()
    watching: dict[str, tuple[str, ...]] = {}
    started: list[int] = []

    def look(me: order.Place) -> list[str]:
        """One contender's look; returns what the others see change."""
        verdict = order.decide(line, me, leases)
        assert me.name not in holding or verdict.holds
        watching.pop(me.name, None)
        if not verdict.holds:
            watching[me.name] = verdict.watch
        elif me.name not in holding:
            holding.add(me.name)
            started.append(me.sequence)
            return [me.name]
        return []

    def tell(changed: list[str]) -> None:
        while changed:
            node = changed.pop()
            woken = [me for me in line if node in watching.get(me.name, ())]
            if kind != "rw":
                assert len(woken) <= 2, "a herd"
            for me in woken:
                changed += look(me)

    for me in list(line):
        tell(look(me))
    while line:
        roles = [order.parse(held).role for held in holding]
        assert roles, "somebody waits and nobody holds"
        assert len(roles) <= leases or set(roles) == {"r"}
        gone = rng.choice(sorted(holding))
        holding.remove(gone)
        line[:] = [place for place in line if place.name != gone]
        tell([gone])
    assert len(started) == 30
    if kind != "rw":
        assert started == sorted(started), "fair"


def test_only_what_earlier_tries_left_waiting_is_cleared() -> None:
    other = "b" * 12
    names = [name("x", 1, "t"), name("x", 2, "d"), name("x", 3, "d", other), name("x", 4, "d")]
    line = order.in_order(names)
    assert order.left_behind(line, OWNER, [line[3].nonce]) == [line[1]]


def test_the_first_that_wait_come_back_early_with_standby() -> None:
    line = places(*"xxxxxx")
    verdicts = [order.admit(line, me, 1, 2) for me in line]
    assert [verdict.holds for verdict in verdicts] == [True, True, True, False, False, False]
    assert verdicts[3].watch == tuple(place.name for place in line[:3])
    assert verdicts[4].watch == (line[3].name,)
    assert order.admit(line, line[1], 1, 0) == order.decide(line, line[1])
