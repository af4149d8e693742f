# SPDX-License-Identifier: Apache-2.0
"""``zk_lock``, ``zk_semaphore``, ``zk_read_lock`` and ``zk_write_lock``.

Each is a context manager, which waits where it stands, and a decorator for the function of a
``@task``, which waits deferred::

    @task
    @zk_lock("/locks/ledger")
    def post():
        write(ledger, fence=current_lock().token)

Threads: one object belongs to one thread at a time; its guard has one of its own.
Errors: ZookeeperLockError and its kinds.
Session: if it is lost while the lock is held, the code under it is interrupted by a
ZookeeperLockLost (``on_lost="interrupt"``), or ``lock.check()`` raises it (``on_lost="flag"``); the
end of the ``with`` raises it in any case.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Any, Literal, TypeVar

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException

from zk_executor import names
from zk_executor.exceptions import explain_client
from zk_executor.locks import deferral, facts, order
from zk_executor.locks.errors import (
    ZookeeperLockError,
    ZookeeperLockLost,
    ZookeeperLockNotHeld,
    ZookeeperLockTimeout,
)
from zk_executor.locks.guard import Guard, Interruption
from zk_executor.locks.sessions import close_client, open_client
from zk_executor.locks.templates import is_template, rendered
from zk_executor.locks.turn import AWAY, PlaceGone, Turn

F = TypeVar("F", bound=Callable[..., Any])
OnLost = Literal["interrupt", "flag"]
RELEASE_SECONDS = 10.0

_held: ContextVar[tuple[ZkLock, ...]] = ContextVar("zk_locks_held", default=())
# Those that were acquired in this process, by whatever thread, and not released yet.
_acquired: set[ZkLock] = set()


def current_lock() -> ZkLock:
    """The lock that was acquired last and is still held here. Errors: ZookeeperLockNotHeld."""
    held = _held.get()
    if not held:
        raise ZookeeperLockNotHeld("no ZooKeeper lock is held here")
    return held[-1]


class ZkLock:
    """One use of a lock at a time; see the module and docs/locks.md.

    path: what is locked, also a template that the task renders, "/locks/{{ ds }}". All that contend
    for it say the same kind, and number of leases.
    conn_id: the Airflow connection; client: a started KazooClient instead of it.
    timeout: seconds to wait for the turn; None: for ever.
    handover_timeout: a deferred task whose turn it is has so long to be back in a worker, if others
    wait behind it. deferrable: whether the decorator defers; standby: so many of the first that
    wait do so in a worker's slot, which makes the hand-over a matter of milliseconds.
    """

    def __init__(
        self,
        path: str,
        *,
        conn_id: str = "zookeeper_default",
        client: KazooClient | None = None,
        timeout: float | None = None,
        on_lost: OnLost = "interrupt",
        handover_timeout: float = 300.0,
        deferrable: bool = True,
        standby: int = 0,
        role: order.Role = "x",
        leases: int = 1,
    ) -> None:
        kind = order.KINDS[role]
        if not is_template(path):
            check_path(path, kind, conn_id)
        if on_lost not in ("interrupt", "flag"):
            raise ZookeeperLockError(f"{kind} {path}: on_lost is interrupt or flag, not {on_lost}")
        if standby < 0 or (standby and role in "rw"):
            raise ZookeeperLockError(f"{kind} {path}: standby is for locks and semaphores, from 0")
        if leases < 1:
            raise ZookeeperLockError(f"{kind} {path}: leases must be at least 1, not {leases}")
        self.path = path
        self.conn_id = conn_id
        self.timeout = timeout
        self.on_lost = on_lost
        self.handover_timeout = handover_timeout
        self.deferrable = deferrable
        self.standby = standby
        self.role: order.Role = role
        self.leases = leases
        self._template = path
        self._given = client
        self._place: tuple[Any, str] | None = None  # the servers, and the path without a chroot
        self._holder: tuple[int, Any] = (0, None)  # process and thread
        self._client: KazooClient | None = None
        self._turn: Turn | None = None
        self._guard: Guard | None = None
        self._interruption: Interruption | None = None
        self._token: int | None = None
        self._reset: Token[tuple[ZkLock, ...]] | None = None

    def __repr__(self) -> str:
        return f"<{order.KINDS[self.role]} {self.path} token={self._token}>"

    @property
    def token(self) -> int:
        """The fencing token of this acquisition. Errors: ZookeeperLockNotHeld."""
        if self._token is None:
            raise ZookeeperLockNotHeld(f"{self.where} is not held")
        return self._token

    @property
    def where(self) -> str:
        given = "a client that was given" if self._given else f"connection {self.conn_id}"
        return f"{order.KINDS[self.role]} {self.path} ({given})"

    @property
    def lost(self) -> bool:
        """It was held and may be somebody else's by now."""
        return bool(self._guard and self._guard.reason)

    def check(self) -> int:
        """The token, if it is surely still ours. Errors: ZookeeperLockLost, -NotHeld."""
        if self.lost:
            raise self._loss()
        return self.token

    def acquire(self) -> int:
        """Waits in this thread; returns the token. Errors: see the module."""
        if self._turn is not None:
            raise ZookeeperLockError(f"{self.where} is held by this object already")
        deadline = None if self.timeout is None else time.monotonic() + self.timeout
        turn = self.begin()
        try:
            verdict = self.explained(lambda: turn.enter(deadline))
            return self.finish(verdict, deadline)
        except BaseException:
            self.abandon()
            raise

    def release(self) -> None:
        """Gives it to the next. Errors: ZookeeperLockNotHeld if it is not held; ZookeeperLockLost
        if it was lost before."""
        turn, guard = self._turn, self._guard
        if turn is None or guard is None:
            raise ZookeeperLockNotHeld(
                f"{self.where} is not held: it was released already, or never acquired"
            )
        guard.stop()
        reason = guard.reason
        loss = self._loss() if reason else None
        try:
            if loss is None and not turn.leave(deadline=time.monotonic() + RELEASE_SECONDS):
                loss = ZookeeperLockLost(f"{self.where} was lost: its znode was deleted")
        except (*AWAY, ZookeeperLockTimeout) as error:
            raise ZookeeperLockError(
                f"{self.where} could not be released ({error}); it is free when our session ends"
            ) from error
        finally:
            self._turn = self._guard = self._token = None
            _acquired.discard(self)
            self._close()
        if loss is not None:
            raise loss

    def __enter__(self) -> ZkLock:
        self.acquire()
        try:
            return self.entered()
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        interruption, self._interruption = self._interruption, None
        if interruption is not None:
            try:
                interruption.__exit__()
            except ZookeeperLockLost:
                # It came at this very moment; there is no second one.
                interruption.__exit__()
        if self._reset is not None:
            _held.reset(self._reset)
            self._reset = None
        try:
            self.release()
        except ZookeeperLockError:
            # What went wrong under the lock is told first.
            if error is None:
                raise

    def __call__(self, function: F) -> F:
        return deferral.decorate(function, self.copy)

    # What follows is for deferral.py.

    def copy(self) -> ZkLock:
        """The same lock, not acquired; of a template, the one of this task."""
        copy = type(self)._of(self)
        copy._render()
        return copy

    @staticmethod
    def _of(lock: ZkLock) -> ZkLock:
        return ZkLock(
            lock._template,
            conn_id=lock.conn_id,
            client=lock._given,
            timeout=lock.timeout,
            on_lost=lock.on_lost,
            handover_timeout=lock.handover_timeout,
            deferrable=lock.deferrable,
            standby=lock.standby,
            role=lock.role,
            leases=lock.leases,
        )

    def begin(self) -> Turn:
        """Connects, and returns the turn, not entered.

        Errors: ZookeeperLockError (with a timeout ZookeeperLockTimeout, but at once) if this
        thread, or the code around it, holds the lock already: it would wait for itself.
        """
        self._render()
        self._client = self._given or open_client(self.conn_id)
        chroot = self._client.chroot or ""
        self._place = (frozenset(self._client.hosts), f"{chroot}{self.path}")
        try:
            self._refuse_nesting()
        except ZookeeperLockError:
            self._close()
            raise
        task = facts.task_facts()
        self._turn = Turn(
            self._client,
            self.path,
            self.role,
            leases=self.leases,
            owner=facts.owner_id(task),
            facts=task | facts.process_facts(),
            conn_id=self.conn_id,
            handover=self.handover_timeout,
        )
        self._turn.where = self.where
        return self._turn

    def _render(self) -> None:
        self.path = rendered(self._template, f"{order.KINDS[self.role]} ({self.conn_id})")
        check_path(self.path, order.KINDS[self.role], self.conn_id)

    def _refuse_nesting(self) -> None:
        here = (os.getpid(), threading.current_thread())
        around = {lock for lock in _acquired.copy() if lock._holder == here} | set(_held.get())
        same = [
            lock
            for lock in around
            if lock._place == self._place and lock._token is not None and not lock.lost
        ]
        # Of a semaphore one may take several leases, but not more than there are.
        spare = self.leases - len(same) if self.role == "s" else 0
        if same and spare <= 0:
            kind = ZookeeperLockError if self.timeout is None else ZookeeperLockTimeout
            holder = facts.told(facts.task_facts() | facts.process_facts())
            raise kind(
                f"{self.where} is held by {holder}, in the code around this, with token "
                f"{same[0]._token}; it would wait for itself: locks are not reentrant. Use the "
                "lock that is held (current_lock()), or another path"
            )

    def finish(self, verdict: order.Verdict, deadline: float | None) -> int:
        """Waits for the turn if it has not come, and takes it."""
        turn, client = self._turn, self._client
        assert turn is not None and client is not None
        while True:
            if not verdict.holds:
                self.explained(lambda: turn.wait(deadline))
            try:
                self._token = self.explained(lambda: turn.claim(deadline))
                break
            except PlaceGone:  # the session ended in between
                turn.nonce = facts.new_nonce()
                verdict = self.explained(lambda: turn.enter(deadline))
        self._holder = (os.getpid(), threading.current_thread())
        _acquired.add(self)
        self._guard = Guard(client, turn.node(), turn.claimed, self._tell)
        self._guard.start()
        return self._token

    def entered(self) -> ZkLock:
        """From here on the code in this thread is under the lock."""
        self._reset = _held.set((*_held.get(), self))
        if self.on_lost == "interrupt":
            self._interruption = Interruption(self._loss)
            self._interruption.__enter__()
            if self.lost:
                self._interruption.fire()
        return self

    def abandon(self) -> None:
        """Leaves the line, if it stands there."""
        turn, self._turn = self._turn, None
        if turn is not None and turn.place is not None:
            turn.leave(quiet=True)
        self._close()

    def detach(self) -> None:
        """Leaves the place where it is: somebody else looks after it."""
        self._turn = None
        self._close()

    def explained(self, call: Callable[[], Any]) -> Any:
        """Calls; what ZooKeeper refuses is told with connection and path."""
        try:
            return call()
        except KazooException as error:
            client = self._client
            assert client is not None
            conn_id = None if self._given else self.conn_id
            explained = explain_client(error, client, conn_id=conn_id, path=self.path, doing="take")
            raise ZookeeperLockError(
                f"{self.where}: {explained}. It needs create, read, write and delete on the path "
                "and below it"
            ) from error

    def _tell(self, reason: str) -> None:
        if (interruption := self._interruption) is not None:
            interruption.fire()

    def _loss(self) -> ZookeeperLockLost:
        reason = self._guard.reason if self._guard else ""
        return ZookeeperLockLost(
            f"{self.where} was lost while it was held, with token {self._token}: "
            f"{reason or 'the session ended'}. Others may hold it now; what was done since is "
            "only safe where the token is checked"
        )

    def _close(self) -> None:
        client, self._client = self._client, None
        if client is not None and client is not self._given:
            close_client(client)


def zk_lock(path: str, **options: Any) -> ZkLock:
    """One holder at a time."""
    return ZkLock(path, **options)


def zk_semaphore(path: str, leases: int, **options: Any) -> ZkLock:
    """So many holders at a time."""
    return ZkLock(path, leases=leases, role="s", **options)


def zk_read_lock(path: str, **options: Any) -> ZkLock:
    """Any number of readers, and no writer; one that waits stops later readers."""
    return ZkLock(path, role="r", **options)


def zk_write_lock(path: str, **options: Any) -> ZkLock:
    """One writer, and no reader."""
    return ZkLock(path, role="w", **options)


def check_path(path: str, kind: str, conn_id: str) -> None:
    """Errors: ZookeeperLockError for what cannot be a path (see names.py), and for the root."""
    problem = names.path_problem(path) or ("it is the root" if path == "/" else "")
    if problem:
        raise ZookeeperLockError(
            f"{kind} (connection {conn_id}): {names.quoted(path)} is no path of a znode: "
            f"{problem}. Write it as /locks/ledger"
        )
