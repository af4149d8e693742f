# SPDX-License-Identifier: Apache-2.0
"""ZkExecutor: translates Airflow's calls into the core's, and the core's events into Airflow's.

Threads: every method runs on the scheduler's thread; none waits for the network. The core's own
thread hands its events over in ``drain_events``.

Errors: an exception that leaves a hook ends the scheduler. So none does: each is logged. What could
not be done is offered again at the next heartbeat a few times; then the workload fails alone, with
the reason where people look for it. None waits in silence. Only ``start`` raises, for an Airflow
that lacks what the executor needs.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Hashable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.exceptions import AirflowConfigException
from airflow.executors.base_executor import BaseExecutor
from sqlalchemy.exc import SQLAlchemyError

from zk_executor import contract, version_compat
from zk_executor.dispatches import (
    CONNECTION_TEST,
    TASK,
    Dispatch,
    Dispatches,
    Verdict,
    judge,
)
from zk_executor.gauges import Gauges
from zk_executor.placing import new_dispatch, placement_arguments, token_subject
from zk_executor.refusals import Refusals
from zk_executor.settings import InvalidSetting, read_executor_settings
from zk_executor.texts import printable, words

if TYPE_CHECKING:
    from airflow.executors.workloads import ExecutorWorkload
    from airflow.models.connection_test import ConnectionTestKey
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy.orm import Session as DbSession

    from zk_executor._core import Event, Placement, Session

# So much work lies in ZooKeeper per slot of a live worker; the surplus stays with the scheduler,
# where priorities are exact, revoking is free and no token's clock runs.
PLACED_PER_SLOT = 4
# Without a worker a little is placed all the same: an autoscaler must see that there is work.
PLACED_WITHOUT_WORKERS = 16
# Outcomes that nobody can read in the task's own log; they go to its event log.
_LOGGED_OUTCOMES = frozenset({"lost", "gone", "rejected"})
_STOP_TIMEOUT_MS = 5_000
_REOPEN_INTERVAL_SECONDS = 30.0


def _name_prefix(job_id: object) -> str:
    """What the names of the executors of one scheduler job begin with in ZooKeeper."""
    return f"job-{job_id}-"


def _guarded(hook: Callable[..., Any]) -> Callable[..., Any]:
    """Logs what the hook raises and returns None instead."""

    @wraps(hook)
    def wrapper(self: ZkExecutor, *args: Any, **kwargs: Any) -> Any:
        try:
            return hook(self, *args, **kwargs)
        except Exception:
            self.log.exception("executor hook failed hook=%s", hook.__name__)
            return None

    return wrapper


class ZkExecutor(version_compat.Supported, BaseExecutor):  # type: ignore[misc]
    """Hands workloads to zk-workers through ZooKeeper.

    Constructing one is cheap, without threads or connections: the API server does it too.
    Errors: AirflowConfigException from the constructor for an invalid option, from ``start`` for
    an Airflow that it can't run with, and only there.
    """

    supports_ad_hoc_ti_run = True
    supports_multi_team = True
    pre_assigns_external_executor_id: ClassVar[bool] = True
    serve_logs = False

    def __init__(self, parallelism: int | None = None, team_name: str | None = None) -> None:
        if parallelism is None:
            super().__init__(team_name=team_name)
        else:
            super().__init__(parallelism=parallelism, team_name=team_name)
        try:
            self._settings = read_executor_settings(self.conf)
        except InvalidSetting as error:
            raise AirflowConfigException(str(error)) from error
        self._dispatches = Dispatches()
        self._gauges = Gauges(team_name)
        self._session: Session | None = None
        self._started = False
        self._reopen_at = 0.0
        self._to_adopt: list[tuple[str, str]] = []
        self._dead_schedulers: set[str] = set()
        self._to_place_again: list[Dispatch] = []
        self._refusals = Refusals(self)

    # Life

    def start(self) -> None:
        """Starts the core. ZooKeeper may be down: the core keeps trying.

        Errors: AirflowConfigException for an Airflow that the executor can't run with.
        """
        contract.check(self)
        self._started = True
        if not self._settings.digest_auth:
            self.log.warning(
                "ZooKeeper is open: [zk_executor] digest_auth is not set, so whoever reaches it "
                "can kill tasks, drain workers, forge results and shut schedulers out hosts=%s",
                self._settings.hosts,
            )
        self._open_session()

    def _open_session(self) -> Session | None:
        """The session; opened if there is none. None: not started, or it cannot be opened."""
        if self._session is not None or not self._started or time.monotonic() < self._reopen_at:
            return self._session
        self._reopen_at = time.monotonic() + _REOPEN_INTERVAL_SECONDS
        try:
            from zk_executor import _core

            session = _core.Session(
                hosts=self._settings.hosts,
                root=self._settings.root,
                team=self.team_name or "default",
                # One name per incarnation: job ids start anew with a new database.
                scheduler_id=f"{_name_prefix(self.job_id)}{uuid.uuid4().hex[:8]}",
                session_timeout_ms=self._settings.session_timeout_ms,
                partitions=self._settings.partitions,
                encryption_secret=self._settings.encryption_secret,
                digest_auth=self._settings.digest_auth,
                max_workload_bytes=self._settings.max_workload_bytes,
            )
            session.start()
        except Exception:
            self.log.exception(
                "cannot start the ZooKeeper session; nothing is placed until it starts "
                "hosts=%s root=%s next_try_seconds=%d",
                self._settings.hosts,
                self._settings.root,
                _REOPEN_INTERVAL_SECONDS,
            )
            return None
        self._session = session
        return session

    @_guarded
    def end(self) -> None:
        """Closes the session. Running tasks go on.

        Takes no more events: the scheduler reads none after this. What is still in ZooKeeper is
        for the scheduler that adopts.
        """
        session, self._started = self._session, False
        if session is None:
            return
        self._session = None
        session.stop(_STOP_TIMEOUT_MS)

    def terminate(self) -> None:
        """Nothing to do: tasks belong to the workers."""

    # Placing

    @_guarded
    def queue_workload(self, workload: ExecutorWorkload, session: DbSession) -> None:
        """Keeps the workload for the next heartbeat: its row isn't committed yet.

        What can't be kept fails at the next heartbeat: Airflow takes it for queued.
        """
        try:
            super().queue_workload(workload, session)
        except Exception as error:
            self._refusals.not_queued(version_compat.workload_key(self, workload), error)
            raise

    @_guarded
    def _process_workloads(self, workload_items: Sequence[ExecutorWorkload]) -> None:
        """Places a batch. What is not placed stays queued and comes with the next heartbeat."""
        session = self._open_session()
        if session is None or not self._connected():
            return
        batch: list[tuple[Dispatch, Placement]] = []
        for workload in workload_items:
            key = version_compat.workload_key(self, workload)
            try:
                dispatch = new_dispatch(workload, key, self._settings.default_queue)
                batch.append((dispatch, self._placement(dispatch)))
            except Exception as error:
                self.log.exception("cannot prepare a workload key=%s", key)
                self._refusals.fail(key, f"could not be prepared for a worker: {words(error)}")
        for dispatch in self._place(session, batch):
            version_compat.pop_queued(self, dispatch.key)
            self.running.add(dispatch.key)
            self._dispatches.put(dispatch)

    def _place(self, session: Session, batch: list[tuple[Dispatch, Placement]]) -> list[Dispatch]:
        """Hands a batch to the core; returns those that it has.

        The core takes all of a batch or nothing. It takes it unless something is broken in it, so
        after a refusal each workload is offered alone, and only the broken one has to wait.
        """
        if not batch:
            return []
        try:
            session.place([placement for _, placement in batch])
        except Exception as error:
            self.log.exception("cannot place workloads count=%d", len(batch))
            if len(batch) > 1:
                return [taken for item in batch for taken in self._place(session, [item])]
            self._refusals.not_placed(batch[0][0].key, error)
            return []
        for dispatch, _ in batch:
            self._refusals.forget(dispatch.key)
        return [dispatch for dispatch, _ in batch]

    def _placement(self, dispatch: Dispatch) -> Placement:
        """The dispatch for the core, with a token whose time starts now."""
        from zk_executor import _core

        workload = dispatch.workload
        workload.token = type(workload).generate_token(token_subject(workload), self.jwt_generator)
        return _core.Placement(**placement_arguments(dispatch))

    def _place_again(self, session: Session) -> None:
        """Places what came back for a fresh token; keeps it for the next time if that fails."""
        batch: list[tuple[Dispatch, Placement]] = []
        for dispatch in self._to_place_again:
            if self._dispatches.current(dispatch.id) is not dispatch:
                continue
            try:
                batch.append((dispatch, self._placement(dispatch)))
            except Exception as error:
                self.log.exception("cannot place again dispatch=%s", dispatch.id)
                self._dispatches.forget(dispatch)
                self._refusals.fail(dispatch.key, f"no fresh token could be made: {words(error)}")
        placed = {dispatch.id for dispatch in self._place(session, batch)}
        # Those that failed for good are forgotten by that, and left out the next time.
        self._to_place_again = [dispatch for dispatch, _ in batch if dispatch.id not in placed]

    # Results

    @_guarded
    def sync(self) -> None:
        """Applies what the core has to report. Costs as much as there are events."""
        self._refusals.tell_not_queued()
        session = self._open_session()
        if session is None:
            return
        self._apply_events(session)
        self._hand_over_adopted()
        self._place_again(session)
        self._gauges.tell(self._status)

    def _apply_events(self, session: Session) -> None:
        for event in session.drain_events():
            dispatch = self._dispatches.current(event.dispatch_id)
            if dispatch is None:
                self.log.debug(
                    "ignoring an event of an earlier dispatch dispatch=%s outcome=%s",
                    event.dispatch_id,
                    event.outcome,
                )
                continue
            try:
                self._apply(dispatch, event)
            except Exception as error:
                self.log.exception("cannot apply an event dispatch=%s", dispatch.id)
                self._give_up(dispatch, f"its result could not be applied: {words(error)}")

    @_guarded
    def _give_up(self, dispatch: Dispatch, reason: str) -> None:
        """Fails a dispatch whose result is not to be had. Harmless if Airflow knows its end."""
        self._dispatches.forget(dispatch)
        self._refusals.fail(dispatch.key, reason)

    def _apply(self, dispatch: Dispatch, event: Event) -> None:
        verdict = judge(dispatch, event.outcome)
        if version_compat.is_queued(self, dispatch.key):
            # Airflow has queued the key again already: this result is not about that run.
            verdict = Verdict.FORGET
        if verdict is Verdict.PLACE_AGAIN:
            dispatch.token_attempts += 1
            self._to_place_again.append(dispatch)
            return
        self._dispatches.forget(dispatch)
        if verdict is Verdict.FORGET:
            self.running.discard(dispatch.key)
        elif verdict is Verdict.SUCCEED:
            self.success(dispatch.key)
        else:
            self._report_failure(dispatch, event)

    def _report_failure(self, dispatch: Dispatch, event: Event) -> None:
        info = event.info or f"ended as {event.outcome}"
        self.log.warning(
            "workload failed key=%s dispatch=%s outcome=%s worker=%s info=%s",
            dispatch.key,
            dispatch.id,
            event.outcome,
            event.worker or "-",
            info,
        )
        self.fail(dispatch.key, info)
        if dispatch.kind == CONNECTION_TEST:
            self._refusals.fail_test(dispatch.key, info)  # unless the worker has told it
        if dispatch.kind == TASK and event.outcome in _LOGGED_OUTCOMES:
            self.log_task_event(
                event=f"zk_executor {event.outcome}", extra=info, ti_key=dispatch.key
            )

    def change_state(
        self, key: Any, state: Any, info: Any = None, remove_running: bool = True
    ) -> None:
        """Also called by the scheduler, to fail a task it heard nothing of: then it is ended."""
        if remove_running:
            self._forget_and_revoke(key)
        info = printable(info) if isinstance(info, str) else info
        super().change_state(key, state, info, remove_running)

    def log_task_event(self, *, event: str, extra: str, ti_key: Any) -> None:
        """Adds to a task's audit log, which the scheduler writes to the database."""
        super().log_task_event(event=event, extra=printable(extra), ti_key=ti_key)

    # Revoking

    def _forget_and_revoke(self, key: Hashable) -> None:
        self._refusals.forget(key)
        dispatch = self._dispatches.of_key(key)
        if dispatch is not None:
            self._dispatches.forget(dispatch)
            self._revoke(dispatch.id)

    @_guarded
    def _revoke(self, dispatch_id: str) -> None:
        if self._session is not None:
            self._session.revoke(dispatch_id)

    @_guarded
    def revoke_task(self, *, ti: TaskInstance) -> None:
        """Takes a task back that waited too long. Reports nothing: Airflow decides what follows."""
        key = version_compat.task_key(self, ti)
        version_compat.pop_queued(self, key)
        self.running.discard(key)
        self._refusals.forget(key)
        if self._dispatches.of_key(key) is not None:
            self._forget_and_revoke(key)
        elif ti.external_executor_id:
            self._revoke(ti.external_executor_id)

    @_guarded
    def fail_connection_test(self, key: ConnectionTestKey) -> None:
        """Drops a connection test that Airflow has given up on."""
        super().fail_connection_test(key)
        self._forget_and_revoke(key)

    # Adopting

    def try_adopt_task_instances(self, tis: Sequence[TaskInstance]) -> Sequence[TaskInstance]:
        """Takes over the tasks of a dead scheduler; returns those that were never dispatched.

        Adopted unseen, ZooKeeper is asked later: to refuse here would run live tasks twice.
        Idempotent. Errors: those of the database pass, because reading a task instance may load a
        column of it, and the scheduler repeats the whole step then.
        """
        refused: list[TaskInstance] = []
        adopted: list[Dispatch] = []
        for ti in tis:
            try:
                if not ti.external_executor_id:
                    refused.append(ti)
                    continue
                key = version_compat.task_key(self, ti)
                queue = ti.queue or self._settings.default_queue
                adopted.append(Dispatch(ti.external_executor_id, key, TASK, queue))
                if ti.queued_by_job_id is not None:
                    self._dead_schedulers.add(_name_prefix(ti.queued_by_job_id))
            except SQLAlchemyError:
                raise
            except Exception as error:
                self.log.exception("cannot read a task instance to adopt; taken as alive")
                self._say_not_adopted(ti, f"could not be adopted: {words(error)}")
        for dispatch in adopted:
            self.running.add(dispatch.key)
            if self._dispatches.current(dispatch.id) is None:
                self._dispatches.put(dispatch)
                self._to_adopt.append((dispatch.id, dispatch.queue))
        self._hand_over_adopted()
        return refused

    @_guarded
    def _say_not_adopted(self, ti: TaskInstance, reason: str) -> None:
        """Airflow's own checks for heartbeats and for tasks stuck in queued end it, if need be."""
        key = version_compat.task_key(self, ti)
        self.log_task_event(event="zk_executor not adopted", extra=reason, ti_key=key)

    @_guarded
    def _hand_over_adopted(self) -> None:
        """Tells the core what was adopted; keeps it for the next heartbeat if that fails."""
        if self._to_adopt and self._session is not None:
            self._session.adopt(self._to_adopt, sorted(self._dead_schedulers))
            self.log.info("adopted tasks of another scheduler count=%d", len(self._to_adopt))
            self._to_adopt = []
            self._dead_schedulers = set()

    # Asked by the scheduler and the API server

    def _status(self) -> dict[str, Any]:
        if self._session is None:
            return {}
        try:
            return dict(self._session.status())
        except Exception:
            self.log.exception("cannot read the status of the ZooKeeper session")
            return {}

    def _connected(self) -> bool:
        return bool(self._status().get("connected"))

    @property
    def slots_available(self) -> int:
        """How many more workloads to queue: bounded by parallelism and by the live workers.

        0 without ZooKeeper: work then stays with the scheduler.
        """
        free: int = super().slots_available
        if not self._started:
            return free
        status = self._status()
        if not status.get("connected"):
            return 0
        bound = max(PLACED_PER_SLOT * int(status.get("live_slots", 0)), PLACED_WITHOUT_WORKERS)
        return max(0, min(free, bound - self.slots_occupied))

    def get_task_log(self, ti: TaskInstance, try_number: int) -> tuple[list[str], list[str]]:
        """Nothing of our own: the worker serves the log of a running task."""
        return [], []

    @_guarded
    def debug_dump(self) -> None:
        super().debug_dump()
        self.log.info(
            "executor.dispatches (%d)\n\t%s",
            len(self._dispatches),
            "\n\t".join(f"{d.id} {d.kind} queue={d.queue} {d.key}" for d in self._dispatches),
        )
        self.log.info("executor.zookeeper\n\t%s", self._status())
