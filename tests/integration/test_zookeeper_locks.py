# SPDX-License-Identifier: Apache-2.0
"""Locks, semaphores, read/write locks and barriers over real ZooKeeper servers."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from kazoo.client import KazooClient
from zk_clients import Connect, clients, expire, wait_until

from devstack import ZooKeeperEnsemble, ZooKeeperServer
from zk_executor.locks import (
    current_lock,
    facts,
    order,
    zk_barrier,
    zk_lock,
    zk_read_lock,
    zk_semaphore,
    zk_write_lock,
)
from zk_executor.locks.errors import (
    ZookeeperLockError,
    ZookeeperLockLost,
    ZookeeperLockNotHeld,
    ZookeeperLockTimeout,
)
from zk_executor.locks.turn import PlaceGone, Turn


@pytest.fixture
def connect(zookeeper: ZooKeeperServer) -> Iterator[Connect]:
    with clients(zookeeper.hosts) as make:
        yield make


@pytest.fixture(scope="module")
def ensemble(session_folder: Path) -> Iterator[ZooKeeperEnsemble]:
    with ZooKeeperEnsemble(session_folder / "locks-ensemble") as servers:
        yield servers


def line(client: KazooClient, path: str) -> list[order.Place]:
    return order.in_order(client.get_children(path))


class Inside:
    """Counts who is under a lock, and what was seen there."""

    def __init__(self) -> None:
        self.most = 0
        self.order: list[int] = []
        self.tokens: list[int] = []
        self._now = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Inside:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._now -= 1


def test_contenders_get_a_lock_one_by_one_in_their_order_with_growing_tokens(
    connect: Connect,
) -> None:
    client, path, inside = connect(), "/locks/fair/one", Inside()

    def contend(number: int) -> None:
        with zk_lock(path, client=client) as lock, inside:
            inside.order.append(number)
            inside.tokens.append(lock.token)

    with ThreadPoolExecutor(20) as pool, zk_lock(path, client=client) as first:
        inside.tokens.append(first.token)
        futures = []
        for number in range(20):
            futures.append(pool.submit(contend, number))
            wait_until(lambda n=number: len(line(client, path)) == n + 2, "a place in the line")
        first.release()
        with pytest.raises(ZookeeperLockNotHeld, match="released already"):
            first.release()
        for future in futures:
            future.result(60)
        first.acquire()
    assert inside.most == 1
    assert inside.order == list(range(20))
    assert inside.tokens == sorted(set(inside.tokens)) and len(inside.tokens) == 21
    assert line(client, path) == []
    assert client.exists(path), "the parent stays, with it the sequence"


def test_a_semaphore_lets_so_many_in_and_never_more(connect: Connect) -> None:
    client, inside, path = connect(), Inside(), "/locks/semaphore"
    together = threading.Barrier(3)

    def contend() -> None:
        with zk_semaphore(path, 3, client=client), inside:
            together.wait(30)

    with ThreadPoolExecutor(9) as pool:
        for future in [pool.submit(contend) for _ in range(9)]:
            future.result(60)
    assert inside.most == 3
    with pytest.raises(ZookeeperLockError, match="not a semaphore of 4 leases"):
        zk_semaphore(path, 4, client=client).acquire()
    with pytest.raises(ZookeeperLockError, match="it holds a semaphore of 3 leases"):
        zk_lock(path, client=client).acquire()
    assert line(client, path) == [], "nothing half done"


def test_readers_share_a_lock_and_writers_have_it_alone(connect: Connect) -> None:
    client, readers, writers, path = connect(), Inside(), Inside(), "/locks/rw"
    pair = threading.Barrier(2)

    def read() -> int:
        with zk_read_lock(path, client=client) as lock, readers:
            pair.wait(30)
            assert writers._now == 0
            return lock.token

    def write() -> int:
        with zk_write_lock(path, client=client) as lock, writers:
            assert readers._now == 0
            return lock.token

    kinds = [read, read, write, read, read, write]
    with ThreadPoolExecutor(6) as pool:
        with zk_write_lock(path, client=client):
            futures = []
            for number, kind in enumerate(kinds):
                futures.append(pool.submit(kind))
                wait_until(lambda n=number: len(line(client, path)) == n + 2, "a place")
        tokens = [future.result(60) for future in futures]
    assert readers.most == 2 and writers.most == 1
    assert max(tokens[:2]) < tokens[2] < min(tokens[3:5]) <= max(tokens[3:5]) < tokens[5]


def test_who_waits_too_long_leaves_the_line_and_says_who_holds(connect: Connect) -> None:
    client, path = connect(), "/locks/timeout"
    with zk_lock(path, client=client):
        with pytest.raises(ZookeeperLockTimeout, match=f"{path}.*held by process"):
            zk_lock(path, client=client, timeout=0.05).acquire()
        assert len(line(client, path)) == 1


@pytest.mark.parametrize("path", ["locks", "/", "/locks/", "//x", "/a/../b", "/a/./b", "/a\nb"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ZookeeperLockError, match="zookeeper_default.*is no path"):
        zk_lock(path)


def test_a_path_without_permission_is_named(connect: Connect) -> None:
    from kazoo.security import make_digest_acl

    client = connect()
    client.create("/closed", acl=[make_digest_acl("somebody", "else", all=True)])
    with pytest.raises(ZookeeperLockError, match="lock /closed/a .*no permission"):
        zk_lock("/closed/a", client=client).acquire()


def test_a_lost_session_interrupts_who_holds_before_the_next_one_holds(
    zookeeper: ZooKeeperServer, connect: Connect
) -> None:
    """The holder blocks in a system call, as a task in a query does."""
    holder, other, path = connect(), connect(), "/locks/expiry"
    never = threading.Event()
    thief = threading.Thread(target=expire, args=(zookeeper.hosts, holder))
    with (
        pytest.raises(ZookeeperLockLost, match=f"{path}.*was lost while it was held"),
        zk_lock(path, client=holder) as lock,
    ):
        lost_token = lock.token
        thief.start()
        signal.pause()
        never.set()
    thief.join(30)
    assert not never.is_set()
    with zk_lock(path, client=other) as lock:
        assert lock.token > lost_token
    assert signal.getsignal(signal.SIGURG) == signal.SIG_DFL


def test_with_a_flag_a_lost_lock_tells_when_it_is_asked_and_at_its_end(
    zookeeper: ZooKeeperServer, connect: Connect
) -> None:
    client, path = connect(), "/locks/flag"
    with (
        pytest.raises(ZookeeperLockLost, match="deleted|session"),
        zk_lock(path, client=client, on_lost="flag") as lock,
    ):
        assert lock.check() == lock.token == current_lock().token
        expire(zookeeper.hosts, client)
        wait_until(lambda: lock.lost, "the loss to be seen")
        with pytest.raises(ZookeeperLockLost):
            lock.check()
    with pytest.raises(ZookeeperLockNotHeld):
        current_lock()


def test_a_holder_that_zookeeper_is_silent_to_stops_before_its_session_ends(
    own_zookeeper: ZooKeeperServer,
) -> None:
    """By its own clock: the server, stopped, cannot have given the lock to anybody yet."""
    with clients(own_zookeeper.hosts) as connect:
        client = connect()
        with (
            pytest.raises(ZookeeperLockLost, match="silent for longer than is safe"),
            zk_lock("/locks/silence", client=client),
        ):
            own_zookeeper.process.send_signal(signal.SIGSTOP)
            began = time.monotonic()
            try:
                signal.pause()
            finally:
                silent = time.monotonic() - began
                own_zookeeper.process.send_signal(signal.SIGCONT)
        # The session's timeout is 6 s; this one bound is what the guarantee says.
        assert silent < 6


def test_a_place_moves_between_task_and_trigger_and_keeps_its_turn(connect: Connect) -> None:
    one, two, path = connect(), connect(), "/locks/handover"

    def turn(client: KazooClient, owner: str) -> Turn:
        return Turn(client, path, "x", owner=owner * 12, facts={"owner": owner})

    holder, waiter, later = turn(one, "a"), turn(one, "b"), turn(two, "c")
    assert holder.enter(None).holds
    first = holder.claim()
    assert not waiter.enter(None).holds
    assert not later.enter(None).holds
    parked = waiter.park(None)
    assert [place.owner[0] for place in line(one, path)] == ["a", "b", "c"]
    assert one.exists(f"{path}/{parked.name}").ephemeralOwner == 0
    holder.leave()

    back = turn(two, "b")
    back.take_over(parked, None)
    assert back.look().holds and not later.look().holds
    second = back.claim()
    assert facts.decode(two.get(back.node())[0])["state"] == "held"
    # Who comes with the same place a second time, a zombie for instance, does not get it.
    with pytest.raises(PlaceGone):
        turn(one, "b").take_over(parked, None)
    back.leave()
    later_verdict = later.look()
    assert later_verdict.holds
    assert first < second < later.claim()
    later.leave()


def test_a_place_that_nobody_takes_over_is_cleared(connect: Connect) -> None:
    client, path = connect(), "/locks/orphan"
    turns = [Turn(client, path, "x", owner=letter * 12, facts={}, handover=0.0) for letter in "ab"]
    turns[0].enter(None)
    orphan = turns[0].park(None)
    client.create(f"{path}/{orphan.name}/kept", ephemeral=True)
    verdict = turns[1].enter(None)
    for _ in range(3):
        turns[1]._clear_overdue(verdict)
    assert not turns[1].look().holds, "somebody looks after it"
    client.delete(f"{path}/{orphan.name}/kept")
    for _ in range(3):
        turns[1]._clear_overdue(verdict)
    assert turns[1].look().holds
    with pytest.raises(PlaceGone):
        turns[0].take_over(orphan, None)
    turns[1].leave()


def test_a_retry_clears_where_its_earlier_try_was_waiting(connect: Connect) -> None:
    client, path = connect(), "/locks/retry"
    earlier = Turn(client, path, "x", owner="a" * 12, facts={})
    earlier.enter(None)
    earlier.park(None)
    retry = Turn(client, path, "x", owner="a" * 12, facts={})
    retry.enter(None)
    assert retry.look().holds
    retry.leave()


def test_locks_go_on_over_a_change_of_leader(ensemble: ZooKeeperEnsemble) -> None:
    """The leader is killed in the middle of many acquisitions: none overlaps, each token grows."""
    inside, path, rounds = Inside(), "/locks/leader", 15
    with clients(ensemble.hosts) as connect, ThreadPoolExecutor(4) as pool:
        lost = []

        def contend(client: KazooClient) -> None:
            done = 0
            while done < rounds:
                try:
                    with zk_lock(path, client=client, on_lost="flag") as lock, inside:
                        inside.tokens.append(lock.check())
                    done += 1
                except ZookeeperLockLost as error:
                    lost.append(error)
                    done += 1

        futures = [pool.submit(contend, connect(timeout=10)) for _ in range(4)]
        wait_until(lambda: len(inside.tokens) > 8, "some acquisitions")
        leader = ensemble.leader()
        assert leader is not None
        leader.process.kill()
        for future in futures:
            future.result(90)
        leader.process.start()
        ensemble.wait_serving([leader])
        assert inside.most == 1
        assert len(inside.tokens) >= 4 * rounds - len(lost)
        assert inside.tokens == sorted(set(inside.tokens))
        assert line(connect(), path) == []


def test_a_barrier_opens_when_all_have_come_and_not_before(connect: Connect) -> None:
    client, path = connect(), "/barriers/three"
    passed: list[int] = []

    def go(number: int) -> None:
        with zk_barrier(path, 3, key="monday", client=client):
            passed.append(number)

    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(go, number) for number in (1, 2)]
        wait_until(
            lambda: (
                client.exists(path)
                and any(
                    len(client.get_children(f"{path}/{name}/parties")) == 2
                    for name in client.get_children(path)
                    if client.exists(f"{path}/{name}/parties")
                )
            ),
            "two parties",
        )
        assert passed == []
        futures.append(pool.submit(go, 3))
        for future in futures:
            future.result(30)
    zk_barrier(path, 3, key="monday", client=client).wait()
    with pytest.raises(ZookeeperLockTimeout, match="only 1 of 3 parties"):
        zk_barrier(path, 3, key="tuesday", client=client, timeout=0.05).wait()
    with pytest.raises(ZookeeperLockError, match="all must say the same"):
        zk_barrier(path, 4, key="tuesday", client=client, timeout=0.05).wait()


def test_a_missing_chroot_is_told(zookeeper: ZooKeeperServer) -> None:
    with (
        clients(f"{zookeeper.hosts}/not/there") as connect,
        pytest.raises(ZookeeperLockError, match="lock /locks/chroot .*chroot exist"),
    ):
        zk_lock("/locks/chroot", client=connect()).acquire()
