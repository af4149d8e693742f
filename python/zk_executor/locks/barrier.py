# SPDX-License-Identifier: Apache-2.0
"""``zk_barrier``: nobody goes on before all have come.

::

    @task
    @zk_barrier("/barriers/load", parties=4)
    def load(part): ...

Below the barrier's path each round has a node, named after its key: ``<round>/parties/<owner>`` for
whoever has come, and ``<round>/open`` once all had. In a task the key is the DAG run unless given,
and the owner the task instance, whatever the try: a retry finds its own place, or the barrier open.

Threads, errors: as in lock.py. Session: what a waiting context manager has put there ends with
its session, and it comes again in the next one; a deferred task's stays, and its trigger renews it
every hour. An open barrier stays open for its key. When a new round begins, those that opened more
than a day ago are swept, and those that never opened and in which nobody has waited for seven days.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Event
from typing import Any, TypeVar

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NodeExistsError, NoNodeError

from zk_executor.exceptions import ZookeeperInvalidValue, explain_client
from zk_executor.locks import deferral, facts
from zk_executor.locks.errors import ZookeeperLockError, ZookeeperLockTimeout
from zk_executor.locks.lock import check_path
from zk_executor.locks.sessions import close_client, open_client
from zk_executor.locks.sweep import sweep
from zk_executor.locks.templates import is_template, rendered
from zk_executor.locks.turn import AWAY, RECHECK
from zk_executor.values import utf8
from zk_executor.zk import waits

log = logging.getLogger(__name__)
F = TypeVar("F", bound=Callable[..., Any])
# Seconds after which the trigger of a deferred party shows that somebody still waits.
RENEWED_AFTER = 3600.0
# Seconds for one answer.
_ANSWER = 10.0
# ZooKeeper is asked once at least, however short the timeout.
_MOMENT = 1.0


class ZkBarrier:
    """One party's way through. timeout: seconds; None: for ever. In a task, path and key may be
    templates, "/barriers/{{ ds }}"."""

    def __init__(
        self,
        path: str,
        parties: int,
        *,
        key: str | None = None,
        conn_id: str = "zookeeper_default",
        client: KazooClient | None = None,
        timeout: float | None = None,
        deferrable: bool = True,
    ) -> None:
        if not is_template(path):
            check_path(path, "barrier", conn_id)
        if parties < 1:
            raise ZookeeperLockError(f"barrier {path}: parties must be at least 1, not {parties}")
        self.path = path
        self.parties = parties
        self.key = key
        self.conn_id = conn_id
        self.timeout = timeout
        self.deferrable = deferrable
        self._templates = (path, key)
        self._given = client

    @property
    def where(self) -> str:
        given = "a client that was given" if self._given else f"connection {self.conn_id}"
        return f"barrier {self.path} ({given})"

    def _render(self) -> None:
        path, key = self._templates
        self.path = rendered(path, self.where)
        check_path(self.path, "barrier", self.conn_id)
        self.key = None if key is None else rendered(key, self.where)

    def wait(self) -> None:
        """Comes, and waits in this thread until all have."""
        self._render()
        deadline = self._deadline()
        self._with_party(lambda party: party.pass_through(deadline))

    def _deadline(self) -> float | None:
        return None if self.timeout is None else time.monotonic() + self.timeout

    def __enter__(self) -> ZkBarrier:
        self.wait()
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, function: F) -> F:
        def call(inner: F, args: Any, kwargs: Any) -> Any:
            self._pass_as_task()
            return inner(*args, **kwargs)

        return deferral.wrap(function, call)

    def _pass_as_task(self) -> None:
        """Returns when all have come. Raises TaskDeferred to wait."""
        self._render()
        state = deferral.resumed(deferral.resume_key("barrier", self.path))
        if state is not None and (status := state["event"].get("status")) != "open":
            kind = ZookeeperLockTimeout if status == "timeout" else ZookeeperLockError
            raise kind(state["event"].get("message") or f"{self.where}: {status}")
        if not (self.deferrable and deferral.may_defer()):
            return self.wait()
        deadline = self._deadline()
        party = self._with_party(
            lambda party: None if party.come(deadline, ephemeral=False) else party
        )
        if party is not None:
            raise self._deferred(party)

    def _deferred(self, party: _Party) -> BaseException:
        from airflow.sdk.exceptions import TaskDeferred

        from zk_executor.triggers.barrier import ZookeeperBarrierTrigger

        ends = None if self.timeout is None else time.time() + self.timeout
        return TaskDeferred(
            trigger=ZookeeperBarrierTrigger(
                conn_id=self.conn_id,
                round_path=party.round,
                owner=party.owner,
                parties=self.parties,
                deadline=ends,
            ),
            method_name=deferral.RESUME_METHOD,
            kwargs={deferral.STATE: {"key": deferral.resume_key("barrier", self.path)}},
        )

    def _with_party(self, use: Callable[[_Party], Any]) -> Any:
        task = facts.task_facts()
        key = self.key or (f"{task['dag_id']}/{task['run_id']}" if task else None)
        if key is None:
            raise ZookeeperLockError(f"{self.where}: outside of a task it needs a key")
        try:
            utf8(key)
        except ZookeeperInvalidValue as error:
            raise ZookeeperLockError(f"{self.where}: key: {error}") from None
        client = self._given or open_client(self.conn_id)
        try:
            return use(_Party(client, self, key, task))
        except KazooException as error:
            conn_id = None if self._given else self.conn_id
            explained = explain_client(
                error, client, conn_id=conn_id, path=self.path, doing="wait at barrier"
            )
            raise ZookeeperLockError(str(explained)) from error
        finally:
            if client is not self._given:
                close_client(client)


class _Party:
    """One party of one round, over a started client."""

    def __init__(
        self, client: KazooClient, barrier: ZkBarrier, key: str, task: dict[str, Any]
    ) -> None:
        self._client = client
        self._barrier = barrier
        self._key = key
        self.owner = facts.owner_id(task)
        self.round = f"{barrier.path}/{hashlib.sha256(key.encode()).hexdigest()[:16]}"
        self._facts = task | facts.process_facts()
        self._wake = Event()

    def come(self, deadline: float | None, *, ephemeral: bool) -> bool:
        """Shows that this party is here; whether all are. Repeats it while ZooKeeper is away."""
        while True:
            try:
                with waits.within(_left(deadline)):
                    return self._come(ephemeral)
            except NoNodeError:
                log.info("%s was swept at this moment: once more", self.round)
            except (*AWAY, self._client.handler.timeout_exception) as error:
                if deadline is not None and time.monotonic() >= deadline:
                    raise ZookeeperLockTimeout(
                        f"{self._barrier.where}: ZooKeeper gave no answer in time ({error!r}). Is "
                        "the ensemble up?"
                    ) from error
                if not self._client.connected:
                    self._wake.clear()
                    self._wake.wait(1.0)

    def _come(self, ephemeral: bool) -> bool:
        client = self._client
        if _ask(client.exists_async, f"{self.round}/open"):
            return True
        self._begin()
        node = f"{self.round}/parties/{self.owner}"
        try:
            _ask(client.create_async, node, facts.encode(self._facts), ephemeral=ephemeral)
        except NodeExistsError:
            stat = _ask(client.exists_async, node)
            session = client.client_id
            if stat and stat.ephemeralOwner and session and stat.ephemeralOwner != session[0]:
                # Of a try of ours whose session is about to end.
                with suppress(NoNodeError):
                    _ask(client.delete_async, node)
                return self._come(ephemeral)
        # Who came last sees all the others, because its own write came after theirs.
        return open_if_complete(client, self.round, self._barrier.parties)

    def pass_through(self, deadline: float | None) -> None:
        self._client.add_listener(self._on_change)
        opened = f"{self.round}/open"
        try:
            while True:
                self._wake.clear()
                if self.come(deadline, ephemeral=True):
                    return
                with suppress(*AWAY, self._client.handler.timeout_exception):
                    if _ask(self._client.exists_async, opened, watch=self._on_change):
                        return
                left = RECHECK if deadline is None else deadline - time.monotonic()
                if left <= 0:
                    raise ZookeeperLockTimeout(self._too_late())
                self._wake.wait(min(RECHECK, left) if self._client.connected else min(1.0, left))
        finally:
            self._client.remove_listener(self._on_change)

    def _begin(self) -> None:
        said = {"kind": "barrier", "parties": self._barrier.parties, "key": self._key}
        try:
            _ask(self._client.create_async, self.round, facts.encode(said), makepath=True)
            sweep(self._client, self._barrier.path, self.round)
        except NoNodeError as error:
            raise ZookeeperLockError(
                f"{self._barrier.where}: the path cannot be made. Does the connection's chroot "
                "exist?"
            ) from error
        except NodeExistsError:
            found = facts.decode(_ask(self._client.get_async, self.round)[0])
            if found != said:
                raise ZookeeperLockError(
                    f"{self._barrier.where}: this round is of {found.get('parties')} parties, not "
                    f"{self._barrier.parties}; all must say the same"
                ) from None
        # Not with what is above it: if the round was swept just now, it has to be made anew.
        with suppress(NodeExistsError):
            _ask(self._client.create_async, f"{self.round}/parties")

    def _too_late(self) -> str:
        try:
            here = _ask(self._client.get_children_async, f"{self.round}/parties")
            with suppress(NoNodeError):
                _ask(self._client.delete_async, f"{self.round}/parties/{self.owner}")
        except (*AWAY, self._client.handler.timeout_exception) as error:
            return f"{self._barrier.where}: not all came in time; ZooKeeper is away ({error!r})"
        return (
            f"{self._barrier.where}: only {len(here)} of {self._barrier.parties} parties came in "
            "time"
        )

    def _on_change(self, _: Any) -> None:
        self._wake.set()


def _ask(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return waits.answer_of(call(*args, **kwargs), _ANSWER)


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(_MOMENT, deadline - time.monotonic())


def open_if_complete(client: KazooClient, round_path: str, parties: int) -> bool:
    """Opens the round if all are there; whether it is open."""
    if len(_ask(client.get_children_async, f"{round_path}/parties")) < parties:
        return _ask(client.exists_async, f"{round_path}/open") is not None
    with suppress(NodeExistsError):
        _ask(client.create_async, f"{round_path}/open")
    return True


def zk_barrier(path: str, parties: int, **options: Any) -> ZkBarrier:
    """See ZkBarrier."""
    return ZkBarrier(path, parties, **options)
