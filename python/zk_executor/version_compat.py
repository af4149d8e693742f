# SPDX-License-Identifier: Apache-2.0
"""Every difference between the Airflow versions we run on, 3.3 and what is known of 3.4.

3.4 names tasks by uuid (``get_task_key``), keeps what is queued in ``executor_queues`` by workload
type, and replaces the ``supports_…`` flags by ``supported_workload_types``.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from airflow._shared.observability.metrics import stats
from airflow.executors.base_executor import BaseExecutor
from airflow.executors.workloads import types as workload_types

if TYPE_CHECKING:
    from airflow.models.taskinstance import TaskInstance

_TYPE_NAMES = ("EXECUTE_TASK", "EXECUTE_CALLBACK", "TEST_CONNECTION")


def _supported_workload_types() -> frozenset[Any]:
    known = getattr(workload_types, "WorkloadType", None)
    return frozenset(getattr(known, name) for name in _TYPE_NAMES if hasattr(known, name))


# Empty on 3.3, which looks at the supports_… flags only.
SUPPORTED_WORKLOAD_TYPES: frozenset[Any] = _supported_workload_types()


def task_key(executor: BaseExecutor, ti: TaskInstance) -> Hashable:
    """The key under which ``executor`` knows the task instance."""
    if hasattr(BaseExecutor, "get_task_key"):
        return executor.get_task_key(ti)
    return ti.key


def _queues(executor: BaseExecutor) -> list[dict[Any, Any]]:
    by_type = getattr(executor, "executor_queues", None)
    if by_type is not None:
        return list(by_type.values())
    return [
        executor.queued_tasks,
        executor.queued_callbacks,
        executor.queued_connection_tests,
    ]


def pop_queued(executor: BaseExecutor, key: Hashable) -> None:
    """Takes the workload out of whichever queue holds it; nothing happens if none does."""
    for queue in _queues(executor):
        queue.pop(key, None)


def is_queued(executor: BaseExecutor, key: Hashable) -> bool:
    """Whether a workload of that key waits in the scheduler to be placed."""
    return any(key in queue for queue in _queues(executor))


def gauge(name: str, value: float, tags: dict[str, str]) -> None:
    """Tells Airflow's metrics backend, if one is configured."""
    stats.gauge(name, value=value, tags=tags)
