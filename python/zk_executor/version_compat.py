# SPDX-License-Identifier: Apache-2.0
"""Every difference between the Airflow versions that the executor runs on: 3.3 and 3.4.

3.4 keeps what is queued in ``executor_queues`` by workload type, replaces the ``supports_…`` flags
by ``supported_workload_types``, and names tasks by uuid for executors that ask for it. What the
worker has to know of versions stands in ``zk_executor/worker/supervise_versions.py``;
``contract.py`` checks at start that the installed Airflow is one of these.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, ClassVar

from airflow._shared.observability.metrics import stats
from airflow.executors import workloads
from airflow.executors.base_executor import BaseExecutor

if TYPE_CHECKING:
    from airflow.models.taskinstance import TaskInstance

# With which the tests run.
VERIFIED_VERSIONS = ("3.3.2", "3.4.0b2")
TYPE_NAMES = ("EXECUTE_TASK", "EXECUTE_CALLBACK", "TEST_CONNECTION")
# 3.3's queues, one attribute for each.
QUEUE_NAMES = ("queued_tasks", "queued_callbacks", "queued_connection_tests")
# None on 3.3.
WORKLOAD_TYPE: Any = getattr(workloads, "WorkloadType", None)


class _Flags:
    """3.3: what an executor takes beside tasks."""

    supports_callbacks = True
    supports_connection_test = True


class _Types:
    """3.4: what an executor takes, and that it knows tasks by their uuid.

    The uuid fits because results, adoption and revoking go by dispatch id, and so never mistake
    one try for another.
    """

    supported_workload_types: ClassVar[frozenset[Any]] = frozenset(
        getattr(WORKLOAD_TYPE, name) for name in TYPE_NAMES if hasattr(WORKLOAD_TYPE, name)
    )
    supports_task_instance_uuid: ClassVar[bool] = True


# A base of the executor, before Airflow's own.
Supported: type = _Flags if WORKLOAD_TYPE is None else _Types


def task_key(executor: BaseExecutor, ti: TaskInstance) -> Hashable:
    """The key under which ``executor`` knows the task instance."""
    return ti.key if WORKLOAD_TYPE is None else executor.get_task_key(ti)


def workload_key(executor: BaseExecutor, workload: Any) -> Hashable:
    """The key under which ``executor`` knows the workload."""
    return workload.key if WORKLOAD_TYPE is None else executor.get_workload_key(workload)


def _queues(executor: BaseExecutor) -> list[dict[Any, Any]]:
    if WORKLOAD_TYPE is None:
        return [getattr(executor, name) for name in QUEUE_NAMES]
    return list(executor.executor_queues.values())


def pop_queued(executor: BaseExecutor, key: Hashable) -> None:
    """Takes the workload out of whichever queue holds it; nothing happens if none does."""
    for queue in _queues(executor):
        queue.pop(key, None)


def is_queued(executor: BaseExecutor, key: Hashable) -> bool:
    """Whether a workload of that key waits in the scheduler to be placed."""
    return any(key in queue for queue in _queues(executor))


def count_queued(executor: BaseExecutor) -> int:
    """How many workloads wait in the scheduler to be placed."""
    return sum(len(queue) for queue in _queues(executor))


def gauge(name: str, value: float, tags: dict[str, str]) -> None:
    """Tells Airflow's metrics backend, if one is configured."""
    stats.gauge(name, value=value, tags=tags)
