# SPDX-License-Identifier: Apache-2.0
"""How a ``@task`` function waits for a lock without a worker's slot.

The decorated function is the operator's ``python_callable``. When it is not its turn, the task
parks its place and raises TaskDeferred with ``method_name="python_callable"``: Airflow resumes a
deferred task with ``getattr(task, method_name)(context, event=..., **kwargs)``, which so comes back
to this wrapper, whatever the kind of operator. The wrapper keeps what it was told and has the
operator execute as at first, with its arguments; the lock whose key the state names then takes its
place back.

A task that holds one lock cannot defer for a second, because what it holds ends with its process:
it waits for the second in its slot.

Threads: the task's. Errors: see lock.py. Session: a place that is gone means the end of the line.
"""

from __future__ import annotations

import functools
import inspect
import logging
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from zk_executor.locks import facts, order
from zk_executor.locks.errors import ZookeeperLockError, ZookeeperLockTimeout
from zk_executor.locks.turn import PlaceGone

if TYPE_CHECKING:
    from zk_executor.locks.lock import ZkLock

log = logging.getLogger(__name__)
F = TypeVar("F", bound=Callable[..., Any])
STATE = "zk_state"
RESUME_METHOD = "python_callable"

_resumed: ContextVar[dict[str, Any] | None] = ContextVar("zk_resumed", default=None)


def resume_key(kind: str, path: str) -> str:
    return f"{kind}:{path}"


def resumed(key: str) -> dict[str, Any] | None:
    """The state with which the task was resumed for that key; only once."""
    state = _resumed.get()
    if state is None or state["key"] != key:
        return None
    _resumed.set(None)
    return state


def wrap(function: F, call: Callable[..., Any]) -> F:
    """The function as ``call(function, args, kwargs)``, and the entry of a resumed task."""
    if inspect.iscoroutinefunction(function):
        raise ZookeeperLockError(
            f"{function.__name__} is asynchronous; only functions that are not can be decorated"
        )

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if STATE in kwargs:
            context = args[0]
            _resumed.set({**kwargs[STATE], "event": kwargs.get("event") or {}})
            return context["task"].execute(context)
        return call(function, args, kwargs)

    return wrapper  # type: ignore[return-value]


def decorate(function: F, make: Callable[[], ZkLock]) -> F:
    """The function under a new lock at each call."""

    def call(inner: F, args: Any, kwargs: Any) -> Any:
        lock = make()
        _acquire(lock)
        with _Entered(lock):
            return inner(*args, **kwargs)

    return wrap(function, call)


class _Entered:
    """``with`` a lock that has been acquired."""

    def __init__(self, lock: ZkLock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        try:
            self._lock.entered()
        except BaseException as error:
            self._lock.__exit__(type(error), error, None)
            raise

    def __exit__(self, *error: Any) -> None:
        self._lock.__exit__(*error)


def may_defer() -> bool:
    """This is a task, and it holds nothing that would end with its process."""
    from zk_executor.locks.lock import _held

    return not _held.get() and bool(facts.task_facts())


def _acquire(lock: ZkLock) -> None:
    """Holds the lock when it returns. Raises TaskDeferred, and the errors of lock.py."""
    state = resumed(resume_key(order.KINDS[lock.role], lock.path))
    ends = state["deadline"] if state else None
    if ends is None and lock.timeout is not None:
        ends = time.time() + lock.timeout
    # A task that has come back with its turn is not too late, however long it took.
    granted = bool(state) and state["event"].get("status") == "granted"
    left = None if ends is None else max(0.0, ends - time.time())
    deadline = None if left is None else time.monotonic() + max(left, 30.0 if granted else 0.0)
    turn = lock.begin()
    try:
        while True:
            verdict = lock.explained(functools.partial(_place, lock, state, deadline))
            near = verdict.ahead < lock.leases + lock.standby if lock.standby else False
            if verdict.holds or near or not (lock.deferrable and may_defer()):
                lock.finish(verdict, deadline)
                return
            try:
                place = turn.park(deadline)
            except PlaceGone:
                state = None
                turn.nonce = facts.new_nonce()
                continue
            lock.detach()
            raise _deferred(lock, place, ends, verdict.ahead)
    except BaseException:
        lock.abandon()
        raise


def _place(lock: ZkLock, state: dict[str, Any] | None, deadline: float | None) -> order.Verdict:
    turn = lock._turn
    assert turn is not None
    if state is None:
        return turn.enter(deadline)
    event = state["event"]
    status = event.get("status")
    if status == "timeout":
        raise ZookeeperLockTimeout(event.get("message") or turn.timeout_message())
    if status == "error":
        raise ZookeeperLockError(event.get("message"))
    parked = order.parse(state["place"])
    try:
        if status == "granted" and parked is not None:
            turn.take_over(parked, deadline)
            return turn.look(deadline)
    except PlaceGone:
        turn.nonce = facts.new_nonce()
    log.warning("The place %s at %s is gone: last in line", state["place"], lock.where)
    return turn.enter(deadline)


def _deferred(lock: ZkLock, place: order.Place, ends: float | None, ahead: int) -> BaseException:
    from airflow.sdk.exceptions import TaskDeferred

    from zk_executor.triggers.locks import ZookeeperLockTrigger

    log.info("Waiting deferred for %s, behind %d others", lock.where, ahead)
    key = resume_key(order.KINDS[lock.role], lock.path)
    return TaskDeferred(
        trigger=ZookeeperLockTrigger(
            conn_id=lock.conn_id,
            path=lock.path,
            place=place.name,
            leases=lock.leases,
            deadline=ends,
            handover_timeout=lock.handover_timeout,
            standby=lock.standby,
        ),
        method_name=RESUME_METHOD,
        kwargs={STATE: {"key": key, "place": place.name, "deadline": ends}},
    )
