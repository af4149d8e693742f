# SPDX-License-Identifier: Apache-2.0
"""What ZkExecutor needs of the installed Airflow, checked when the executor starts.

An Airflow that lacks a part of it would run no task and tell nobody: a hook that is called by
another name is never called. So ``check`` ends the scheduler with a message that names the part.
The table below is read together with ``version_compat``, which knows where the versions differ.

Threads: the scheduler's. Costs some milliseconds, once.
"""

from __future__ import annotations

import importlib
import inspect
import logging
from collections.abc import Iterator
from typing import Any

from airflow import __version__ as airflow_version
from airflow.exceptions import AirflowConfigException
from airflow.executors import workloads
from airflow.executors.base_executor import BaseExecutor

from zk_executor import version_compat

log = logging.getLogger(__name__)

# What Airflow calls and we override, or we call, with the arguments that are passed.
HOOKS: dict[str, tuple[str, ...]] = {
    "start": (),
    "queue_workload": ("workload", "session"),
    "_process_workloads": ("workload_items",),
    "heartbeat": (),
    "sync": (),
    "get_event_buffer": ("dag_ids",),
    "change_state": ("key", "state", "info", "remove_running"),
    "fail": ("key", "info"),
    "success": ("key", "info"),
    "has_task": ("task_instance",),
    "try_adopt_task_instances": ("tis",),
    "revoke_task": ("ti",),
    "fail_connection_test": ("key",),
    "log_task_event": ("event", "extra", "ti_key"),
    "get_task_log": ("ti", "try_number"),
    "debug_dump": (),
    "end": (),
    "terminate": (),
    "run_workload": ("workload", "server"),
}
PROPERTIES = ("slots_available", "slots_occupied", "jwt_generator")
FLAGS = ("pre_assigns_external_executor_id", "supports_multi_team", "serve_logs")
# Of an instance.
STATE = ("running", "event_buffer", "conf", "parallelism", "team_name")
WORKLOADS: dict[str, tuple[str, ...]] = {
    "ExecuteTask": ("token", "ti", "bundle_info", "dag_rel_path", "log_path", "type"),
    "ExecuteCallback": ("token", "callback", "bundle_info", "dag_rel_path", "type"),
    "TestConnection": ("token", "connection_test_id", "connection_id", "queue", "type"),
}
KEYS_OF_3_4 = ("get_task_key", "get_workload_key")


def check(executor: BaseExecutor) -> None:
    """Errors: AirflowConfigException that names all that is missing."""
    missing = list(find_missing(executor))
    if missing:
        raise AirflowConfigException(
            f"ZkExecutor cannot run with Airflow {airflow_version}, which lacks what it needs: "
            f"{'; '.join(missing)}. It was verified with Airflow "
            f"{' and '.join(version_compat.VERIFIED_VERSIONS)}: install one of these, or a "
            "ZkExecutor for this version"
        )
    if airflow_version not in version_compat.VERIFIED_VERSIONS:
        log.warning(
            "ZkExecutor was not verified with this Airflow, which has all that it needs "
            "airflow=%s verified=%s",
            airflow_version,
            ",".join(version_compat.VERIFIED_VERSIONS),
        )


def find_missing(executor: BaseExecutor) -> Iterator[str]:
    """Says what the installed Airflow, or our own package, lacks."""
    for name, arguments in HOOKS.items():
        yield from _missing_of_function(f"BaseExecutor.{name}", BaseExecutor, name, arguments)
    for name in (*PROPERTIES, *FLAGS):
        if not hasattr(BaseExecutor, name):
            yield f"BaseExecutor.{name}"
    for name in STATE:
        if not hasattr(executor, name):
            yield f"BaseExecutor().{name}"
    yield from _missing_queues(executor)
    for name, fields in WORKLOADS.items():
        yield from _missing_of_workload(name, fields)
    try:
        importlib.import_module("zk_executor._core")
    except ImportError as error:
        yield f"the compiled part of zk_executor ({error})"


def _missing_of_function(
    label: str, owner: Any, name: str, arguments: tuple[str, ...]
) -> Iterator[str]:
    function = getattr(owner, name, None)
    if not callable(function):
        yield f"{label}()"
        return
    parameters = inspect.signature(function).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for argument in arguments:
        if argument not in parameters:
            yield f"the argument {argument!r} of {label}()"


def _missing_queues(executor: BaseExecutor) -> Iterator[str]:
    if version_compat.WORKLOAD_TYPE is None:
        for name in version_compat.QUEUE_NAMES:
            if not isinstance(getattr(executor, name, None), dict):
                yield f"BaseExecutor().{name}"
        return
    if not isinstance(getattr(executor, "executor_queues", None), dict):
        yield "BaseExecutor().executor_queues"
    for name in KEYS_OF_3_4:
        if not callable(getattr(BaseExecutor, name, None)):
            yield f"BaseExecutor.{name}()"
    for name in version_compat.TYPE_NAMES:
        if not hasattr(version_compat.WORKLOAD_TYPE, name):
            yield f"WorkloadType.{name}"


def _missing_of_workload(name: str, fields: tuple[str, ...]) -> Iterator[str]:
    workload = getattr(workloads, name, None)
    if workload is None:
        yield f"airflow.executors.workloads.{name}"
        return
    known = getattr(workload, "model_fields", {})
    for field in fields:
        if field not in known:
            yield f"{name}.{field}"
    yield from _missing_of_function(
        f"{name}.generate_token", workload, "generate_token", ("sub_id", "generator")
    )
