# SPDX-License-Identifier: Apache-2.0
"""What of an Airflow workload the core needs to know in order to place it.

Pure: reads attributes of the workload, imports no Airflow.
"""

from __future__ import annotations

import uuid
from collections.abc import Hashable
from typing import Any

from zk_executor.dispatches import CALLBACK, CONNECTION_TEST, TASK, Dispatch

_KINDS = {
    "ExecuteTask": TASK,
    "ExecuteCallback": CALLBACK,
    "TestConnection": CONNECTION_TEST,
}

# Callbacks finish existing work and somebody waits for a connection test: both before any task.
_AHEAD_OF_TASKS = 2**31 - 1
_LOWEST = -(2**31)


def new_dispatch(workload: Any, key: Hashable, default_queue: str) -> Dispatch:
    """Names the hand-over of ``workload``, which the executor knows by ``key``.

    Errors: ValueError for an unknown type of workload.
    """
    kind = _KINDS.get(workload.type)
    if kind == TASK:
        # Airflow leaves the id out for some tasks, such as those that name the bare class. Ours is
        # kept on the workload: offered again, it is the same dispatch.
        dispatch_id = workload.ti.external_executor_id or str(uuid.uuid4())
        workload.ti.external_executor_id = dispatch_id
        queue = workload.ti.queue
    elif kind == CALLBACK:
        dispatch_id = str(workload.callback.id)
        queue = workload.callback.data.get("queue")
    elif kind == CONNECTION_TEST:
        dispatch_id = str(workload.connection_test_id)
        queue = workload.queue
    else:
        raise ValueError(f"workload type {workload.type!r} is none of {', '.join(_KINDS)}")
    return Dispatch(dispatch_id, key, kind, queue or default_queue, workload)


def token_subject(workload: Any) -> str:
    """The id for which Airflow makes the workload's token."""
    kind = _KINDS.get(workload.type)
    if kind == TASK:
        return str(workload.ti.id)
    return str(workload.callback.id if kind == CALLBACK else workload.connection_test_id)


def placement_arguments(dispatch: Dispatch) -> dict[str, Any]:
    """The arguments of ``_core.Placement`` for a dispatch that has its workload."""
    workload = dispatch.workload
    slots, priority = 1, _AHEAD_OF_TASKS
    if dispatch.kind == TASK:
        slots = max(1, workload.ti.pool_slots)
        priority = max(_LOWEST, min(workload.ti.priority_weight, _AHEAD_OF_TASKS))
    return {
        "dispatch_id": dispatch.id,
        "queue": dispatch.queue,
        "kind": dispatch.kind,
        "route_key": _route_key(dispatch),
        "slots": slots,
        "priority": priority,
        "workload": workload.model_dump_json().encode(),
        "label": _label(dispatch),
    }


def _route_key(dispatch: Dispatch) -> str:
    """What a worker can be warm for: workloads of one key prefer one worker."""
    workload = dispatch.workload
    if dispatch.kind == CONNECTION_TEST:
        return f"connection_test|{workload.connection_id}"
    bundle = workload.bundle_info
    return f"{bundle.name}|{bundle.version or ''}|{workload.dag_rel_path}"


def task_label_around_try(
    dag_id: str, task_id: str, run_id: str, map_index: int
) -> tuple[str, str]:
    """What stands before and after the number of the try in the label of a task."""
    return f"{dag_id}.{task_id} {run_id} ", f" {map_index}"


def _label(dispatch: Dispatch) -> str:
    """For people, in logs and listings. Holds nothing secret."""
    workload = dispatch.workload
    if dispatch.kind == TASK:
        ti = workload.ti
        head, tail = task_label_around_try(ti.dag_id, ti.task_id, ti.run_id, ti.map_index)
        return f"{head}{ti.try_number}{tail}"
    return f"{dispatch.kind} {workload.display_name}"
