# SPDX-License-Identifier: Apache-2.0
"""Who holds a lock and who waits for whom: pure, from the names of the places alone.

A place is one contender's znode below the lock's path, named ``role.where.owner.nonce.sequence``:

- role: ``x`` lock, ``s`` semaphore, ``r`` reader, ``w`` writer;
- where: ``t`` ephemeral, of the session of a task (or program) that holds or waits in its slot;
  ``d`` persistent, of a deferred task, whose trigger looks after it;
- owner: says which task instance it is, the same for all of its tries;
- nonce: finds a node again whose creation's reply was lost;
- sequence: ZooKeeper's. A place keeps it when it moves between ``t`` and ``d``, and with it its
  turn.

Threads: any; nothing here has state.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cmp_to_key
from typing import Final, Literal

Role = Literal["x", "s", "r", "w"]
Where = Literal["t", "d"]

KINDS: Final = {"x": "lock", "s": "semaphore", "r": "rwlock", "w": "rwlock"}
# ZooKeeper's counter is a signed 32 bit number and goes on at its lowest after its highest.
_NAME = re.compile(r"([xsrw])\.([td])\.([0-9a-f]{12})\.([0-9a-f]{12})\.(-?\d{9,10})\Z")


@dataclass(frozen=True)
class Place:
    """One contender."""

    name: str
    role: Role
    where: Where
    owner: str
    nonce: str
    sequence: int

    def moved(self, where: Where) -> Place:
        """The same turn under the name that it has there."""
        name = f"{prefix(self.role, where, self.owner, self.nonce)}{self.sequence:010d}"
        return Place(name, self.role, where, self.owner, self.nonce, self.sequence)


def prefix(role: Role, where: Where, owner: str, nonce: str) -> str:
    """The name of a place up to its sequence number."""
    return f"{role}.{where}.{owner}.{nonce}."


def parse(name: str) -> Place | None:
    """The place of that name; None for a node that is none of ours."""
    match = _NAME.match(name)
    if match is None:
        return None
    role, where, owner, nonce, sequence = match.groups()
    return Place(name, role, where, owner, nonce, int(sequence))  # type: ignore[arg-type]


def _compare(one: Place, other: Place) -> int:
    # All living places lie within half of the numbers' circle, so the shorter way is the order.
    distance = (one.sequence - other.sequence + 2**31) % 2**32 - 2**31
    return distance or (one.name > other.name) - (one.name < other.name)


def in_order(names: Iterable[str]) -> list[Place]:
    """The places among the names, the first in line first."""
    places = (place for name in names if (place := parse(name)) is not None)
    return sorted(places, key=cmp_to_key(_compare))


@dataclass(frozen=True)
class Verdict:
    """What a contender is to do.

    watch: the names whose change (not only whose end) may change the verdict; empty if it holds.
    ahead: how many are before it in line.
    """

    holds: bool
    watch: tuple[str, ...]
    ahead: int


def find(places: Iterable[Place], nonce: str) -> Place | None:
    """The place with that nonce."""
    return next((place for place in places if place.nonce == nonce), None)


def decide(places: Sequence[Place], me: Place, leases: int = 1) -> Verdict:
    """The verdict for ``me``, which is one of ``places`` (in order).

    It never turns back: who holds goes on holding until it leaves, whoever comes or goes.
    """
    index = places.index(me)
    if me.role == "r":
        writers = [place for place in places[:index] if place.role == "w"]
        return Verdict(not writers, tuple(place.name for place in writers[-1:]), index)
    leases = leases if me.role == "s" else 1
    if index < leases:
        return Verdict(True, (), index)
    # The first that waits sees every holder, the others see only who is before them: one node's
    # change wakes one contender, or two, however many wait.
    watched = places[:leases] if index == leases else places[index - 1 : index]
    return Verdict(False, tuple(place.name for place in watched), index)


def admit(places: Sequence[Place], me: Place, leases: int, standby: int) -> Verdict:
    """Whether a deferred contender is to come back to a worker: it holds, or is among the first
    ``standby`` that wait. Who comes back changes its place, which its follower watches."""
    verdict = decide(places, me, leases)
    if verdict.holds or not standby:
        return verdict
    ready = leases + standby
    if verdict.ahead < ready:
        return Verdict(True, (), verdict.ahead)
    if verdict.ahead == ready:
        return Verdict(False, tuple(place.name for place in places[:ready]), verdict.ahead)
    return verdict


def left_behind(places: Iterable[Place], owner: str, nonces: Iterable[str]) -> list[Place]:
    """Deferred places of ``owner`` but those with these nonces: its earlier tries' leftovers.

    A task instance that runs does not wait anywhere else.
    """
    mine = set(nonces)
    return [
        place
        for place in places
        if place.where == "d" and place.owner == owner and place.nonce not in mine
    ]
