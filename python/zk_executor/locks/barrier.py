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
its session, and it comes again in the next one; a deferred task's stays. An open barrier stays
open for its key; rounds that opened more than a day ago are cleared when a new one begins.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Event
from typing import Any, TypeVar

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NodeExistsError, NoNodeError, NotEmptyError

from zk_executor.locks import deferral, facts
from zk_executor.locks.errors import ZookeeperLockError, ZookeeperLockTimeout
from zk_executor.locks.lock import check_path
from zk_executor.locks.sessions import close_client, open_client
from zk_executor.locks.turn import AWAY, RECHECK

F = TypeVar("F", bound=Callable[..., Any])
_KEEP_MS = 24 * 3600 * 1000


class ZkBarrier:
    """One party's way through. timeout: seconds; None: for ever."""

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
        check_path(path, "barrier", conn_id)
        if parties < 1:
            raise ZookeeperLockError(f"barrier {path}: parties must be at least 1, not {parties}")
        self.path = path
        self.parties = parties
        self.key = key
        self.conn_id = conn_id
        self.timeout = timeout
        self.deferrable = deferrable
        self._given = client

    @property
    def where(self) -> str:
        return f"barrier {self.path} (connection {self.conn_id})"

    def wait(self) -> None:
        """Comes, and waits in this thread until all have."""
        deadline = None if self.timeout is None else time.monotonic() + self.timeout
        self._with_party(lambda party: party.pass_through(deadline))

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
        state = deferral.resumed(deferral.resume_key("barrier", self.path))
        if state is not None and (status := state["event"].get("status")) != "open":
            kind = ZookeeperLockTimeout if status == "timeout" else ZookeeperLockError
            raise kind(state["event"].get("message") or f"{self.where}: {status}")
        if not (self.deferrable and deferral.may_defer()):
            return self.wait()
        party = self._with_party(lambda party: None if party.come(ephemeral=False) else party)
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
        client = self._given or open_client(self.conn_id)
        try:
            return use(_Party(client, self, key, task))
        except KazooException as error:
            raise ZookeeperLockError(f"{self.where}: ZooKeeper refused: {error!r}") from error
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

    def come(self, *, ephemeral: bool) -> bool:
        """Shows that this party is here; whether all are. May be repeated."""
        client = self._client
        if client.exists(f"{self.round}/open"):
            return True
        self._begin()
        node = f"{self.round}/parties/{self.owner}"
        try:
            client.create(node, facts.encode(self._facts), ephemeral=ephemeral)
        except NodeExistsError:
            stat = client.exists(node)
            session = client.client_id
            if stat and stat.ephemeralOwner and session and stat.ephemeralOwner != session[0]:
                # Of a try of ours whose session is about to end.
                with suppress(NoNodeError):
                    client.delete(node)
                return self.come(ephemeral=ephemeral)
        # Who came last sees all the others, because its own write came after theirs.
        return open_if_complete(client, self.round, self._barrier.parties)

    def pass_through(self, deadline: float | None) -> None:
        self._client.add_listener(self._on_change)
        passed = False
        try:
            while not passed:
                self._wake.clear()
                try:
                    passed = self.come(ephemeral=True)
                    if passed or self._client.exists(f"{self.round}/open", watch=self._on_change):
                        return
                except AWAY:
                    if not self._client.connected:
                        self._wake.wait(1.0)
                    continue
                left = RECHECK if deadline is None else deadline - time.monotonic()
                if left <= 0:
                    raise ZookeeperLockTimeout(self._too_late())
                self._wake.wait(min(RECHECK, left))
        finally:
            self._client.remove_listener(self._on_change)

    def _begin(self) -> None:
        said = {"kind": "barrier", "parties": self._barrier.parties, "key": self._key}
        try:
            self._client.create(self.round, facts.encode(said), makepath=True)
            self._clear_old()
        except NodeExistsError:
            found = facts.decode(self._client.get(self.round)[0])
            if found != said:
                raise ZookeeperLockError(
                    f"{self._barrier.where}: this round is of {found.get('parties')} parties, not "
                    f"{self._barrier.parties}; all must say the same"
                ) from None
        self._client.ensure_path(f"{self.round}/parties")

    def _clear_old(self) -> None:
        born = self._client.exists(self.round).ctime
        for name in self._client.get_children(self._barrier.path):
            old = f"{self._barrier.path}/{name}"
            stat = self._client.exists(f"{old}/open")
            if stat and born - stat.ctime > _KEEP_MS:
                with suppress(NoNodeError, NotEmptyError):
                    self._client.delete(old, recursive=True)

    def _too_late(self) -> str:
        here = self._client.get_children(f"{self.round}/parties")
        with suppress(NoNodeError):
            self._client.delete(f"{self.round}/parties/{self.owner}")
        return (
            f"{self._barrier.where}: only {len(here)} of {self._barrier.parties} parties came in "
            "time"
        )

    def _on_change(self, _: Any) -> None:
        self._wake.set()


def open_if_complete(client: KazooClient, round_path: str, parties: int) -> bool:
    """Opens the round if all are there; whether it is open."""
    if len(client.get_children(f"{round_path}/parties")) < parties:
        return client.exists(f"{round_path}/open") is not None
    with suppress(NodeExistsError):
        client.create(f"{round_path}/open")
    return True


def zk_barrier(path: str, parties: int, **options: Any) -> ZkBarrier:
    """See ZkBarrier."""
    return ZkBarrier(path, parties, **options)
