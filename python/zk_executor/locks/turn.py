# SPDX-License-Identifier: Apache-2.0
"""One contender's turn at a lock, semaphore or read/write lock, over a plain KazooClient.

Below the lock's path, a persistent node that says what it is and that is never deleted, each
contender has a place (see order.py). First an ephemeral one of its own session; a task that has to
wait deferred swaps it for a persistent one (``park``) and takes it back when it is its turn
(``take_over``), each in one transaction and with the same sequence number: there is one place at
any time, and the turn is kept.

The fencing token is the zxid of the write that says "held" in the place: zxids never turn back,
and a holder writes only after everybody whom it had to wait for has left.

Threads: one at a time. Blocks while ZooKeeper is away, no longer than ``deadline``.
Errors: ZookeeperLockError and its kinds; other KazooExceptions (NoAuth) as they are.
Session: an ephemeral place dies with it; ``look`` then raises PlaceGone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Event
from typing import Any, TypeVar

from kazoo.client import KazooClient
from kazoo.exceptions import (
    BadVersionError,
    ConnectionClosedError,
    ConnectionLoss,
    KazooException,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    OperationTimeoutError,
    SessionExpiredError,
)

from zk_executor.locks import facts as facts_of
from zk_executor.locks import order
from zk_executor.locks.errors import ZookeeperLockError, ZookeeperLockTimeout
from zk_executor.locks.guard import now

log = logging.getLogger(__name__)
T = TypeVar("T")

# A waiter looks again this often besides its watches, seconds.
RECHECK = 60.0
# Without an answer for so long, an operation is asked for again, seconds.
ANSWER = 10.0
KEPT = "kept"
# ZooKeeper did not answer; what was asked may have happened.
AWAY = (ConnectionLoss, SessionExpiredError, OperationTimeoutError, ConnectionClosedError)


class PlaceGone(Exception):
    """The place does not exist any more: its session ended, or somebody deleted it."""


class Overdue:
    """Finds a deferred place that nobody looks after. Pure; the clock is the caller's.

    One is ownerless while its trigger hands it to its task, and for good if that never comes.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._seen: dict[str, tuple[int, float]] = {}

    def is_overdue(self, name: str, children: int, pzxid: int, now: float) -> bool:
        """It has had no child for all of the time, as far as this observer has seen."""
        if children:
            self._seen.pop(name, None)
            return False
        known = self._seen.get(name)
        if known is None or known[0] != pzxid:
            self._seen[name] = (pzxid, now)
            return False
        return now - known[1] >= self._patience


class Turn:
    """See the module."""

    def __init__(
        self,
        client: KazooClient,
        path: str,
        role: order.Role,
        *,
        leases: int = 1,
        owner: str,
        facts: Mapping[str, Any],
        conn_id: str = "",
        handover: float = 300.0,
    ) -> None:
        self.client = client
        self.path = path
        self.role = role
        self.leases = leases
        self.owner = owner
        self.nonce = facts_of.new_nonce()
        self.place: order.Place | None = None
        self.where = f"{order.KINDS[role]} {path} (connection {conn_id or 'none'})"
        self.claimed = 0.0  # when the write that claimed it was sent, by guard.now()
        self._facts = dict(facts)
        self._kind = {"kind": order.KINDS[role]} | ({"leases": leases} if role == "s" else {})
        self._overdue = Overdue(handover)
        self._wake = Event()

    def node(self, place: order.Place | None = None) -> str:
        """The path of a place; of this turn's without an argument."""
        place = place or self.place
        if place is None:
            raise PlaceGone
        return f"{self.path}/{place.name}"

    def enter(self, deadline: float | None) -> order.Verdict:
        """Takes a place at the end of the line; returns what it is worth."""
        prefix = order.prefix(self.role, "t", self.owner, self.nonce)
        data = self._data("waiting")

        def create() -> list[str] | None:
            created = self.client.create_async(
                f"{self.path}/{prefix}", data, ephemeral=True, sequence=True
            )
            kind = self.client.get_async(self.path)
            children = self.client.get_children_async(self.path)
            try:
                self._of(created, deadline)
                self._check_kind(*self._of(kind, deadline))
                return self._of(children, deadline)  # type: ignore[no-any-return]
            except NoNodeError:
                self._make_path()
                return None
            except self.client.handler.timeout_exception:
                # It stands in the client's queue, and may be sent when nobody waits any more.
                created.rawlink(self._forget)
                raise

        def again() -> list[str] | None:
            # The reply was lost, perhaps after the node had been made.
            try:
                names = self._children(deadline)
            except NoNodeError:
                return create()
            if order.find(order.in_order(names), self.nonce) is None:
                return create()
            self._check_kind(*self._of(self.client.get_async(self.path), deadline))
            return names

        try:
            names = None
            while names is None:
                names = self._ask(create, deadline, again)
        except BaseException:
            self.leave(quiet=True)
            raise
        return self._judge(names)

    def look(self, deadline: float | None = None) -> order.Verdict:
        """What the place is worth now. Errors: PlaceGone."""
        try:
            return self._judge(self._ask(lambda: self._children(deadline), deadline))
        except NoNodeError:
            raise PlaceGone from None

    def claim(self, deadline: float | None = None) -> int:
        """Says "held" in the place, and returns the fencing token. REQUIRES: it is its turn."""
        data = self._data("held")

        def say() -> int:
            # Repeated after a lost reply: the token only grows.
            self.claimed = now()
            return int(self._of(self.client.set_async(self.node(), data), deadline).mzxid)

        try:
            return self._ask(say, deadline)
        except NoNodeError:
            raise PlaceGone from None

    def wait(self, deadline: float | None) -> None:
        """Returns when it is its turn, waiting in this thread; enters anew after a lost session.

        Errors: ZookeeperLockTimeout, after which it does not stand in line any more.
        """
        self.client.add_listener(self._on_state)
        try:
            while True:
                self._wake.clear()
                try:
                    verdict = self.look(deadline)
                    if verdict.holds:
                        return
                    if self._watch(verdict, deadline):
                        self._wake.wait(min(RECHECK, _left(deadline)))
                        if not self._wake.is_set():
                            self._clear_overdue(verdict)
                except PlaceGone:
                    log.warning("The session ended while waiting for %s: last in line", self.where)
                    self.nonce = facts_of.new_nonce()
                    self.enter(deadline)
                if deadline is not None and time.monotonic() >= deadline:
                    raise ZookeeperLockTimeout(self.timeout_message())
        except BaseException:
            self.leave(quiet=True)
            raise
        finally:
            self.client.remove_listener(self._on_state)

    def timeout_message(self) -> str:
        """Who is in the way."""
        try:
            soon = time.monotonic() + 5
            names = order.in_order(self._children(soon))
            first = next((place for place in names if place.nonce != self.nonce), None)
            data = self._of(self.client.get_async(self.node(first)), soon)[0] if first else b""
            holder = facts_of.decode(data)
        except (*AWAY, NoNodeError, self.client.handler.timeout_exception):
            holder = {}
        held = f"; it is held by {facts_of.told(holder)}" if holder else ""
        return f"it was not our turn in time at {self.where}{held}"

    def park(self, deadline: float | None) -> order.Place:
        """Swaps the place for a persistent one, which a trigger looks after. Errors: PlaceGone."""
        mine = self.place
        if mine is None:
            raise PlaceGone
        parked = mine.moved("d")
        self._swap(mine, parked, ephemeral=False, state="waiting", deadline=deadline)
        return parked

    def take_over(self, parked: order.Place, deadline: float | None) -> None:
        """Makes the parked place this session's own. Errors: PlaceGone (cleared, or taken)."""
        self.nonce = parked.nonce
        self._swap(parked, parked.moved("t"), ephemeral=True, state="waiting", deadline=deadline)
        session = self.client.client_id
        stat = self._ask(
            lambda: self._of(self.client.exists_async(self.node()), deadline), deadline
        )
        if stat is None or session is None or stat.ephemeralOwner != session[0]:
            self.place = None
            raise PlaceGone

    def leave(self, *, quiet: bool = False, deadline: float | None = None) -> bool:
        """Deletes the place; False if it was gone. quiet: give up soon, and without an error."""
        deadline = time.monotonic() + 5 if quiet else deadline
        nonce, known, self.place = self.nonce, self.place, None

        tried = False

        def delete() -> bool:
            nonlocal tried
            place = known or order.find(order.in_order(self._children(deadline)), nonce)
            if place is None:
                return tried
            asked_before, tried = tried, True
            if place.where == "d":
                discard(self.client, self.node(place))
            else:
                try:
                    self._of(self.client.delete_async(self.node(place)), deadline)
                except NoNodeError:
                    # After a lost reply it was we who deleted it.
                    return asked_before
            return True

        try:
            return self._ask(delete, deadline)
        except NoNodeError:
            return False
        except (*AWAY, ZookeeperLockError, KazooException) as error:
            if not quiet:
                raise
            log.warning("Could not leave %s (%s): the session's end will", self.where, error)
            return False

    def _swap(
        self, old: order.Place, new: order.Place, *, ephemeral: bool, state: str, deadline: Any
    ) -> None:
        def commit() -> None:
            transaction = self.client.transaction()
            transaction.delete(self.node(old))
            transaction.create(self.node(new), self._data(state), ephemeral=ephemeral)
            for result in self._of(transaction.commit_async(), deadline):
                if isinstance(result, NotEmptyError):
                    _delete_quietly(self.client, f"{self.node(old)}/{KEPT}")
                    return commit()
                if isinstance(result, NoNodeError | NodeExistsError):
                    # Perhaps by us, with the reply lost.
                    if self._of(self.client.exists_async(self.node(new)), deadline) is None:
                        raise PlaceGone
                    break
            self.place = new

        self._ask(commit, deadline)

    def _judge(self, names: list[str]) -> order.Verdict:
        places = order.in_order(names)
        self.place = order.find(places, self.nonce)
        if self.place is None:
            raise PlaceGone
        for place in order.left_behind(places, self.owner, [self.nonce]):
            log.info("Clearing %s, where an earlier try was waiting", place.name)
            discard(self.client, self.node(place))
        return order.decide(places, self.place, self.leases)

    def _watch(self, verdict: order.Verdict, deadline: float | None) -> bool:
        """False if the situation has changed already."""
        results = [
            self.client.exists_async(f"{self.path}/{name}", watch=self._on_event)
            for name in verdict.watch
        ]
        try:
            return all(self._of(result, deadline) is not None for result in results)
        except (*AWAY, self.client.handler.timeout_exception):
            return False

    def _clear_overdue(self, verdict: order.Verdict) -> None:
        for name in verdict.watch:
            place = order.parse(name)
            if place is None or place.where != "d":
                continue
            try:
                stat = self._of(self.client.exists_async(self.node(place)), None)
                if stat and self._overdue.is_overdue(
                    name, stat.numChildren, stat.pzxid, time.monotonic()
                ):
                    log.warning("Nobody took over %s in time: clearing it", self.node(place))
                    self._of(self.client.delete_async(self.node(place)), None)
            except (*AWAY, NoNodeError, NotEmptyError, self.client.handler.timeout_exception):
                pass

    def _check_kind(self, data: bytes, stat: Any) -> None:
        found = facts_of.decode(data)
        if not data:
            try:
                self.client.set(self.path, facts_of.encode(self._kind), version=stat.version)
            except BadVersionError:
                self._check_kind(*self.client.get(self.path))
        elif found != self._kind:
            raise ZookeeperLockError(
                f"{self.where}: {self.path} is not {_kind_told(self._kind)}: it holds "
                f"{_kind_told(found) if 'kind' in found else 'something else'}. "
                "Use another path, or the same kind and number everywhere"
            )

    def _make_path(self) -> None:
        try:
            self.client.create(self.path, facts_of.encode(self._kind), makepath=True)
        except NodeExistsError:
            pass  # somebody else was as early
        except NoNodeError as error:
            raise ZookeeperLockError(
                f"{self.where}: the path cannot be made. Does the connection's chroot exist?"
            ) from error

    def _of(self, result: Any, deadline: float | None) -> Any:
        """The result of an operation; the client's timeout_exception after ANSWER seconds."""
        return result.get(timeout=min(ANSWER, _left(deadline) + 0.1))

    def _children(self, deadline: float | None) -> list[str]:
        names: list[str] = self._of(self.client.get_children_async(self.path), deadline)
        return names

    def _forget(self, created: Any) -> None:
        if created.successful():
            self.client.delete_async(created.value)

    def _data(self, state: str) -> bytes:
        return facts_of.encode({"state": state, **self._facts})

    def _ask(
        self, call: Callable[[], T], deadline: float | None, again: Callable[[], T] | None = None
    ) -> T:
        """What the call returns; repeats it (or calls ``again``) until ZooKeeper has answered."""
        while True:
            try:
                return call()
            except (*AWAY, self.client.handler.timeout_exception) as error:
                if deadline is not None and time.monotonic() >= deadline:
                    raise ZookeeperLockTimeout(
                        f"ZooKeeper gave no answer in time for {self.where} ({error!r}). "
                        "Is the ensemble up?"
                    ) from error
                call = again or call
                self._pause()

    def _pause(self) -> None:
        """Until the client is connected, or for a moment."""
        up = Event()

        def listener(state: str) -> None:
            up.set()

        self.client.add_listener(listener)
        try:
            if not self.client.connected:
                up.wait(1.0)
        finally:
            self.client.remove_listener(listener)

    def _on_event(self, event: Any) -> None:
        self._wake.set()

    def _on_state(self, state: str) -> None:
        self._wake.set()


def discard(client: KazooClient, node: str) -> None:
    """Deletes a deferred place with what keeps it; no matter if it is gone."""
    _delete_quietly(client, f"{node}/{KEPT}")
    _delete_quietly(client, node)


def _delete_quietly(client: KazooClient, node: str) -> None:
    with suppress(NoNodeError, NotEmptyError):
        client.delete(node)


def _left(deadline: float | None) -> float:
    return RECHECK if deadline is None else max(0.0, deadline - time.monotonic())


def _kind_told(kind: Mapping[str, Any]) -> str:
    leases = f" of {kind['leases']} leases" if "leases" in kind else ""
    return f"a {kind.get('kind')}{leases}"
