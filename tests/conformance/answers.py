# SPDX-License-Identifier: Apache-2.0
"""What a well-behaved Execution API server answers: a body of the right shape for every route."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from api_server import Answer, Request

LONG_AGO = "2026-01-02T03:04:05Z"
DAG_RUN: dict[str, Any] = {
    "dag_id": "conformance",
    "run_id": "run",
    "logical_date": LONG_AGO,
    "data_interval_start": "2026-01-01T00:00:00Z",
    "data_interval_end": "2026-01-02T00:00:00.123456Z",
    "run_after": LONG_AGO,
    "start_date": "2026-01-02T03:04:06Z",
    "end_date": None,
    "clear_number": 0,
    "run_type": "manual",
    "state": "running",
    "conf": {"z": 1, "a": [1, 1.0, None, {"é": "ü"}]},
    "triggering_user_name": None,
    "consumed_asset_events": [],
    "partition_key": None,
    "note": None,
}
ASSET = {"name": "an asset", "uri": "s3://bucket/an asset", "group": "asset", "extra": {"k": [1]}}
ASSET_EVENT = {
    "id": 7,
    "timestamp": LONG_AGO,
    "extra": {"from": "test"},
    "asset": ASSET,
    "created_dagruns": [
        {
            "run_id": "created",
            "dag_id": "consumer",
            "logical_date": None,
            "start_date": LONG_AGO,
            "end_date": None,
            "state": "running",
            "data_interval_start": None,
            "data_interval_end": None,
            "partition_key": None,
        }
    ],
    "source_task_id": "producer",
    "source_dag_id": "conformance",
    "source_run_id": "run",
    "source_map_index": -1,
}
PREVIOUS_TI = {
    "task_id": "before",
    "dag_id": "conformance",
    "run_id": "run before",
    "logical_date": LONG_AGO,
    "start_date": LONG_AGO,
    "end_date": None,
    "state": "success",
    "try_number": 2,
    "map_index": -1,
    "duration": 1.5,
}
DAG = {
    "dag_id": "conformance",
    "is_paused": False,
    "bundle_name": "dags-folder",
    "bundle_version": None,
    "relative_fileloc": "tasks.py",
    "owners": "airflow",
    "tags": ["one", "two"],
    "next_dagrun": LONG_AGO,
}
CONNECTION = {
    "conn_id": "a_connection",
    "conn_type": "http",
    "host": "example.org",
    "schema": "a_schema",
    "login": "someone",
    "password": "connection-password",
    "port": 8080,
    "extra": '{"token": "extra-token", "plain": "extra-plain"}',
}
HITL = {
    "ti_id": "01980000-0000-7000-8000-000000000001",
    "options": ["yes", "no"],
    "subject": "Well?",
    "body": "It has to be decided.",
    "defaults": ["no"],
    "multiple": False,
    "params": {"p": {"value": 1, "schema": {}}},
    "assigned_users": [],
}
XCOM_VALUE = {"z": 1, "a": 1.0, "list": [True, None, "text"]}


def run_context(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to the start of a task; ``dag_run`` in the changes is merged, not replaced."""
    context: dict[str, Any] = {
        "dag_run": {**DAG_RUN, **changes.get("dag_run", {})},
        "task_reschedule_count": 0,
        "max_tries": 0,
        "variables": [],
        "connections": [],
        "xcom_keys_to_clear": [],
        "should_retry": False,
    }
    return {**context, **{key: value for key, value in changes.items() if key != "dag_run"}}


def _ok(body: Any) -> Answer:
    return Answer(200, body)


NOTHING = Answer(204)
MESSAGE = Answer(201, {"message": "done"})

# Method, route, answer. The first that fits counts.
ROUTES: tuple[tuple[str, str, Answer], ...] = (
    ("PATCH", "/task-instances/[^/]+/state", NOTHING),
    ("PUT", "/task-instances/[^/]+/heartbeat", NOTHING),
    ("PUT", "/task-instances/[^/]+/rtif", MESSAGE),
    ("PATCH", "/task-instances/[^/]+/rendered-map-index", MESSAGE),
    ("PATCH", "/task-instances/[^/]+/skip-downstream", NOTHING),
    ("PATCH", "/task-instances/[^/]+/dag-run-note", NOTHING),
    ("PATCH", "/callbacks/[^/]+/run", NOTHING),
    (
        "GET",
        "/task-instances/[^/]+/previous-successful-dagrun",
        _ok({"data_interval_start": LONG_AGO, "data_interval_end": None, "start_date": LONG_AGO}),
    ),
    (
        "GET",
        "/task-instances/[^/]+/validate-inlets-and-outlets",
        _ok({"inactive_assets": [{"name": "gone", "uri": "gone://", "type": "Asset"}]}),
    ),
    ("GET", "/task-instances/count", _ok(3)),
    (
        "GET",
        "/task-instances/states",
        _ok({"task_states": {"run": {"b": "success", "a": None}, "other": {}}}),
    ),
    (
        "GET",
        "/task-instances/breadcrumbs",
        _ok({"breadcrumbs": [{"task_id": "a", "state": "success", "duration": 1.0}]}),
    ),
    ("GET", "/task-instances/previous/.*", _ok(PREVIOUS_TI)),
    ("GET", "/task-reschedules/[^/]+/start_date", _ok(LONG_AGO)),
    ("GET", "/connections/.*", _ok(CONNECTION)),
    ("GET", "/variables/keys", _ok({"keys": ["b", "a"], "total_entries": 12})),
    ("GET", "/variables/.*", _ok({"key": "a_variable", "value": "variable-value"})),
    ("PUT", "/variables/.*", MESSAGE),
    ("DELETE", "/variables/.*", NOTHING),
    ("HEAD", "/xcoms/.*", Answer(200, headers={"Content-Range": "map_indexes 42"})),
    ("GET", "/xcoms/.*/item/[^/]+", _ok(XCOM_VALUE)),
    ("GET", "/xcoms/.*/slice", _ok([XCOM_VALUE, 1, 1.0, None, "x"])),
    ("GET", "/xcoms/.*", _ok({"key": "a_key", "value": XCOM_VALUE})),
    ("POST", "/xcoms/.*", MESSAGE),
    ("DELETE", "/xcoms/.*", _ok({"message": "gone"})),
    ("GET", "/assets/by-alias", _ok([ASSET, {**ASSET, "name": "second", "extra": None}])),
    ("GET", "/assets/.*", _ok(ASSET)),
    ("GET", "/asset-events/.*", _ok({"asset_events": [ASSET_EVENT]})),
    ("GET", "/dag-runs/count", _ok(5)),
    ("GET", "/dag-runs/previous", _ok({**DAG_RUN, "run_id": "run before"})),
    ("GET", "/dag-runs/.*/state", _ok({"state": "success"})),
    ("GET", "/dag-runs/.*", _ok(DAG_RUN)),
    ("POST", "/dag-runs/.*", NOTHING),
    ("GET", "/dags/.*", _ok(DAG)),
    ("POST", "/hitlDetails/.*", Answer(201, HITL)),
    ("GET", "/store/.*", _ok({"value": XCOM_VALUE})),
    ("PUT", "/store/.*", NOTHING),
    ("DELETE", "/store/.*", NOTHING),
)


def default_answers(
    context: Mapping[str, Any], *, refresh: str = ""
) -> Callable[[Request], Answer]:
    """The default answers for a task whose start is answered with that context and new token."""
    headers = {"Refreshed-API-Token": refresh} if refresh else {}
    run = Answer(200, run_context(context), headers)

    def answer(request: Request) -> Answer:
        if request.method == "PATCH" and re.fullmatch("/task-instances/[^/]+/run", request.route):
            return run
        for method, route, known in ROUTES:
            if method == request.method and re.fullmatch(route, request.route):
                return known
        return Answer(404, {"detail": {"reason": "not_found", "message": "no such route"}})

    return answer
