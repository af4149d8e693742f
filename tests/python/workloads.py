# SPDX-License-Identifier: Apache-2.0
"""Workloads as Airflow's scheduler makes them, and the steps of its loop."""

from __future__ import annotations

import uuid
from typing import Any

from airflow.executors.workloads import ExecuteCallback, ExecuteTask, TestConnection
from airflow.executors.workloads.base import BundleInfo
from airflow.executors.workloads.callback import CallbackDTO, CallbackFetchMethod
from airflow.executors.workloads.task import TaskInstanceDTO
from airflow.models.taskinstancekey import TaskInstanceKey

from fake_core import Event, FakeCore, Session
from zk_executor import ZkExecutor, version_compat

_TASKS = uuid.UUID("01980000-0000-7000-8000-000000000000")


def task_uuid(task_id: str) -> uuid.UUID:
    """The id of a task instance, the same for every dispatch of it."""
    return uuid.uuid5(_TASKS, task_id)


def task(task_id: str = "t1", *, dispatch: str | None = "d1", **fields: Any) -> ExecuteTask:
    ti: dict[str, Any] = {
        "id": task_uuid(task_id),
        "dag_version_id": uuid.uuid4(),
        "task_id": task_id,
        "dag_id": "dag",
        "run_id": "run",
        "try_number": 1,
        "map_index": -1,
        "pool_slots": 1,
        "queue": "default",
        "priority_weight": 1,
        "external_executor_id": dispatch,
    }
    return ExecuteTask(
        token="stale-token",
        ti=TaskInstanceDTO(**(ti | fields)),
        dag_rel_path="sub/dag.py",
        bundle_info=BundleInfo(name="bundle", version="v1"),
        log_path="a.log",
    )


def callback(**data: Any) -> ExecuteCallback:
    return ExecuteCallback(
        token="stale-token",
        callback=CallbackDTO(
            id=str(uuid.uuid4()),
            fetch_method=CallbackFetchMethod.IMPORT_PATH,
            data={"path": "my.mod.fn", "kwargs": {"text": "x"}} | data,
        ),
        dag_rel_path="dag.py",
        bundle_info=BundleInfo(name="bundle"),
        log_path="c.log",
    )


def connection_test(queue: str | None = None) -> TestConnection:
    return TestConnection(
        token="stale-token",
        connection_test_id=uuid.uuid4(),
        connection_id="my_conn",
        timeout=60,
        queue=queue,
    )


class OrphanedTask:
    """What the executor may read of a task instance row."""

    def __init__(
        self,
        task_id: str,
        dispatch: str | None,
        queue: str = "default",
        job: int | None = 7,
    ) -> None:
        self.id = task_uuid(task_id)
        self.external_executor_id = dispatch
        self.queue = queue
        self.queued_by_job_id = job
        self.key = TaskInstanceKey("dag", task_id, "run", 1, -1)


class Driver:
    """Drives an executor as the scheduler does."""

    def __init__(self, core: FakeCore) -> None:
        self.core = core
        self.executor = ZkExecutor()
        self.executor.job_id = 7
        self.executor.start()

    @property
    def session(self) -> Session:
        return self.core.sessions[-1]

    def key(self, what: Any) -> Any:
        """The key by which this Airflow's executors know a workload, or a task instance."""
        if isinstance(what, OrphanedTask):
            return version_compat.task_key(self.executor, what)
        return version_compat.workload_key(self.executor, what)

    @property
    def waiting(self) -> int:
        """How many workloads are queued in the scheduler."""
        return version_compat.count_queued(self.executor)

    def queue(self, *workloads: Any) -> None:
        for workload in workloads:
            self.executor.queue_workload(workload, session=None)

    def place(self, *workloads: Any) -> None:
        self.queue(*workloads)
        self.executor.heartbeat()

    def report(self, dispatch_id: str, outcome: str, info: str = "") -> None:
        """The core reports; the scheduler's loop goes round once."""
        self.session.events.append(Event(dispatch_id, outcome, info, "w1"))
        self.executor.heartbeat()

    def events(self) -> dict[Any, tuple[str, Any]]:
        return self.executor.get_event_buffer()

    def logged(self) -> list[tuple[str, str]]:
        """Event and text of what was written to tasks' event logs."""
        return [(row.event, row.extra) for row in self.executor._task_event_logs]
