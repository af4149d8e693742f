# SPDX-License-Identifier: Apache-2.0
"""Messages of every type that the installed Airflow's task process may send, from its own models.

A type that a new Airflow has added gets its messages here by itself; test_messages.py says that it
is unknown, and the comparison what our supervisor makes of it.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any

UUID = "01980000-0000-7000-8000-000000000001"
BY_FORMAT = {
    "date-time": "2026-02-03T04:05:06.700000+02:00",
    "uuid": UUID,
    "duration": "P1DT2H3M4.000005S",
}
# Types after which Airflow regards the task as ended; they get tasks of their own.
LAST_WORDS = frozenset(
    {"AwaitInputTask", "DeferTask", "RescheduleTask", "RetryTask", "SucceedTask", "TaskState"}
)
# What the suite knows of Airflow 3.3; then, by minor version, what came since.
KNOWN_OF_3_3 = LAST_WORDS | frozenset(
    [
        "ClearAssetStateStoreByName",
        "ClearAssetStateStoreByUri",
        "ClearTaskStateStore",
        "CreateHITLDetailPayload",
        "DeleteAssetStateStoreByName",
        "DeleteAssetStateStoreByUri",
        "DeleteTaskStateStore",
        "DeleteVariable",
        "DeleteXCom",
        "GetAssetByName",
        "GetAssetByUri",
        "GetAssetEventByAsset",
        "GetAssetEventByAssetAlias",
        "GetAssetStateStoreByName",
        "GetAssetStateStoreByUri",
        "GetAssetsByAlias",
        "GetConnection",
        "GetDRCount",
        "GetDag",
        "GetDagRun",
        "GetDagRunState",
        "GetHITLDetailResponse",
        "GetPrevSuccessfulDagRun",
        "GetPreviousDagRun",
        "GetPreviousTI",
        "GetTICount",
        "GetTaskBreadcrumbs",
        "GetTaskRescheduleStartDate",
        "GetTaskStateStore",
        "GetTaskStates",
        "GetVariable",
        "GetVariableKeys",
        "GetXCom",
        "GetXComCount",
        "GetXComSequenceItem",
        "GetXComSequenceSlice",
        "MaskSecret",
        "PutVariable",
        "ResendLoggingFD",
        "SetAssetStateStoreByName",
        "SetAssetStateStoreByUri",
        "SetRenderedFields",
        "SetRenderedMapIndex",
        "SetTaskStateStore",
        "SetXCom",
        "SkipDownstreamTasks",
        "TriggerDagRun",
        "UpdateHITLDetail",
        "ValidateInletsAndOutlets",
    ]
)
NEW: Mapping[tuple[int, int], frozenset[str]] = {
    (3, 4): frozenset({"SetExecutionTimeout", "UpdateDagRunNote"}),
}
# Sent in cases of their own: the supervisor acts on them.
ACTED_ON = frozenset({"SetExecutionTimeout"})
Message = dict[str, Any]


def minor_version() -> tuple[int, int]:
    """Of the installed Airflow."""
    from airflow import __version__

    major, minor, *_ = __version__.split(".")
    return int(major), int(minor)


def known() -> frozenset[str]:
    """The types that the suite knows of the installed Airflow."""
    return KNOWN_OF_3_3.union(*(new for since, new in NEW.items() if since <= minor_version()))


def models() -> dict[str, Any]:
    """The members of Airflow's union by the type they are sent as."""
    from airflow.sdk.execution_time.comms import ToSupervisor

    union = typing.get_args(ToSupervisor)[0]
    return {model.model_fields["type"].default: model for model in typing.get_args(union)}


def generated(kind: str) -> list[Message]:
    """A message with the required fields only, one with all, one with their other choices."""
    model = models()[kind]
    schema = model.model_json_schema()
    found: list[Message] = []
    for full, choice in ((False, 0), (True, 0), (True, -1)):
        message = {"type": kind}
        for name, part in schema["properties"].items():
            if name != "type" and (full or name in schema.get("required", ())):
                message[name] = _sample(name, part, schema.get("$defs", {}), full, choice)
        model.model_validate(message)
        if message not in found:
            found.append(message)
    return found


def _sample(name: str, part: Mapping[str, Any], defs: Mapping[str, Any], full: bool, choice: int):
    if "$ref" in part:
        part = defs[part["$ref"].rpartition("/")[2]]
    if "const" in part:
        return part["const"]
    if "enum" in part:
        return part["enum"][choice]
    if "anyOf" in part:
        choices = [one for one in part["anyOf"] if one.get("type") != "null"]
        if not full and len(choices) < len(part["anyOf"]):
            return None
        return _sample(name, choices[choice], defs, full, choice)
    return _sample_of_type(name, part, defs, full, choice)


def _sample_of_type(name: str, part: Mapping[str, Any], defs: Mapping[str, Any], full, choice):
    kind = part.get("type")
    if kind == "string":
        return BY_FORMAT.get(part.get("format", ""), f"a_{name}")
    if kind == "integer":
        return 3
    if kind == "number":
        return 1.5
    if kind == "boolean":
        return choice == 0
    if kind == "array":
        if "prefixItems" in part:
            return [_sample(name, item, defs, full, choice) for item in part["prefixItems"]]
        one = _sample(name, part.get("items", {}), defs, full, choice)
        return [one, one]
    if kind == "object" and "properties" in part:
        names = part["properties"] if full else part.get("required", ())
        return {key: _sample(key, part["properties"][key], defs, full, choice) for key in names}
    if kind == "object" and isinstance(part.get("additionalProperties"), Mapping):
        values = part["additionalProperties"]
        one = _sample(name, values, defs, full, choice)
        return {"z": one, "a": one if values.get("type") == "string" else None}
    return {"z": [1, 1.0, None, True], "a": {"é": "☃"}}


def all_generated() -> list[Message]:
    """Of every type but last words and what is acted on."""
    kinds = sorted(set(models()) - LAST_WORDS - ACTED_ON)
    return [one for kind in kinds for one in generated(kind)]


NAMES = (
    "plain",
    "with space",
    "é漢\U0001f600",
    "a:b+c@d=e,f;g",
    "manual__2026-01-02T03:04:05+00:00",
    "a&b=c",
    "tilde~bang!star*quote'paren()",
    'double"quote',
    "back\\slash",
    "a<b>c",
    "[x]{y}|z^`",
)
# Airflow's client leaves some of these unescaped, so that they are another path or a query.
NAMES_THAT_BREAK_URLS = ("what?", "a#b", "a/b", "%20", "a%2Fb", "100%")
PLACES = {"dag_id": "d", "run_id": "r", "task_id": "t"}


def with_names(*names: str) -> list[Message]:
    """Names of things, as parts of paths and of queries."""
    found: list[Message] = []
    for name in names:
        xcom = {"dag_id": name, "run_id": name, "task_id": name, "key": name}
        found += [
            {"type": "GetVariable", "key": name},
            {"type": "PutVariable", "key": name, "value": name, "description": None},
            {"type": "DeleteVariable", "key": name},
            {"type": "GetVariableKeys", "prefix": name},
            {"type": "GetConnection", "conn_id": name},
            {"type": "GetXCom", **xcom},
            {"type": "SetXCom", **xcom, "value": name},
            {"type": "GetXComCount", **xcom},
            {"type": "GetXComSequenceItem", **xcom, "offset": -1},
            {"type": "GetDagRun", "dag_id": name, "run_id": name},
            {"type": "GetDag", "dag_id": name},
            {"type": "GetPreviousTI", "dag_id": name, "task_id": name},
            {"type": "GetAssetByName", "name": name},
            {"type": "GetAssetByUri", "uri": name},
            {"type": "GetAssetsByAlias", "alias_name": name},
            {"type": "GetAssetEventByAsset", "name": None, "uri": name},
            {"type": "GetAssetEventByAssetAlias", "alias_name": name},
            {"type": "GetTICount", "dag_id": name, "task_ids": [name, "b"], "states": [name]},
            {"type": "GetTaskStateStore", "ti_id": UUID, "key": name},
            {"type": "GetAssetStateStoreByName", "name": name, "key": name},
            {"type": "TriggerDagRun", "dag_id": name, "run_id": name},
        ]
    return found


VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -0.0, 1, 1.0, -1, 0.1, 1e300, 5e-324, 1e16, 123456789.123456789),
    *(2**31, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64 - 1),
    *("", "é漢\U0001f600", "\x00\x01\x1f\x7f\x80", "\u2028\u2029", 'a\nb\tc\\d"e/f', "</script>"),
    *([], {}, [[]], [{}], {"": ""}, {"z": 1, "a": 2, "m": 3, "é": 4, "\x00": 5}),
    *([1, 1.0, "1", True, None], {"1": 1, "10": 2, "2": 3}, "x" * 70_000, list(range(20))),
)
NAN = float("nan")
ODD_VALUES: tuple[Any, ...] = (NAN, float("inf"), float("-inf"), [NAN])


def with_values(values: tuple[Any, ...]) -> list[Message]:
    """Values of the user, on their way to the server."""
    xcom = {**PLACES, "key": "k"}
    found: list[Message] = []
    for value in values:
        found += [
            {"type": "SetXCom", **xcom, "value": value},
            {"type": "SetTaskStateStore", "ti_id": UUID, "key": "k", "value": value}
            | {"expires_at": None},
            {"type": "SetRenderedFields", "rendered_fields": {"field": value}},
        ]
    return found


def with_nan() -> list[Message]:
    """A number that JSON has not, where it is not the whole of the user's value."""
    kwargs = {"z": NAN, "a": [1.0, -float("inf")]}
    return [
        {"type": "TriggerDagRun", "dag_id": "d", "run_id": "r", "conf": kwargs},
        {"type": "SetAssetStateStoreByName", "name": "n", "key": "k", "value": kwargs},
        {"type": "MaskSecret", "value": kwargs},
        {"type": "RetryTask", "end_date": BY_FORMAT["date-time"], "retry_delay_seconds": NAN},
        {"type": "DeferTask", "classpath": "c", "next_method": "m", "trigger_kwargs": kwargs},
        {"type": "SucceedTask", "end_date": BY_FORMAT["date-time"], "outlet_events": [kwargs]},
    ]


def hand_written() -> list[Message]:
    """What the models allow and the generator does not think of."""
    xcom = {**PLACES, "key": "k"}
    moment = "2026-02-03T04:05:06"
    return [
        *({"type": "GetXCom", **xcom, "map_index": index} for index in (None, -1, 0, 7)),
        {"type": "GetXCom", **xcom, "map_index": 0, "include_prior_dates": True},
        *({"type": "SetXCom", **xcom, "value": 1, "map_index": i} for i in (None, -1, 0, 7)),
        *({"type": "SetXCom", **xcom, "value": 1, "mapped_length": n} for n in (None, -1, 0, 7)),
        {"type": "SetXCom", **xcom, "value": 1, "dag_result": True, "map_index": 1},
        *({"type": "DeleteXCom", **xcom, "map_index": index} for index in (None, -1, 0)),
        {"type": "GetXComSequenceSlice", **xcom, "start": None, "stop": None, "step": None},
        {"type": "GetXComSequenceSlice", **xcom, "start": 0, "stop": -1, "step": -2}
        | {"include_prior_dates": True},
        *({"type": "GetTICount", "dag_id": "d", "map_index": index} for index in (None, -1, 0)),
        {"type": "GetTICount", "dag_id": "d", "task_ids": [], "states": []},
        *(
            {"type": "GetTICount", "dag_id": "d", "logical_dates": [f"{moment}{rest}"]}
            for rest in ("Z", ".5Z", ".000001+05:30", "+00:00", "-08:00")
        ),
        {"type": "GetTaskStates", "dag_id": "d", "map_index": -1, "run_ids": ["a b", "c+d"]},
        {"type": "GetDRCount", "dag_id": "d", "states": ["success", "failed"]},
        {"type": "GetPreviousDagRun", "dag_id": "d", "logical_date": f"{moment}Z", "state": ""},
        {"type": "GetPreviousTI", "dag_id": "d", "task_id": "t", "map_index": 5},
        {"type": "GetVariableKeys", "prefix": "", "limit": 0, "offset": 7},
        {"type": "PutVariable", "key": "k", "value": None, "description": "é"},
        {"type": "PutVariable", "key": "a/b/c", "value": "", "description": ""},
        {"type": "GetVariable", "key": "a/b/c"},
        {"type": "GetAssetEventByAsset", "name": "n", "uri": "s3://x/y?z=1", "limit": 0}
        | {"after": f"{moment}Z", "ascending": False},
        {"type": "GetAssetEventByAsset", "name": None, "uri": None},
        {"type": "GetAssetEventByAsset", "name": "", "uri": "u"},
        {"type": "GetAssetByName", "name": ""},
        {"type": "GetAssetStateStoreByName", "name": "", "key": "k"},
        {"type": "SkipDownstreamTasks", "tasks": []},
        {"type": "SkipDownstreamTasks", "tasks": ["a", ["b", 3], "é"]},
        {"type": "SetRenderedMapIndex", "rendered_map_index": 'é "quoted" \n'},
        {"type": "SetRenderedFields", "rendered_fields": {}},
        *(
            {"type": "TriggerDagRun", "dag_id": "d", "run_id": "r", **more}
            for more in (
                {"conf": {}},
                {"conf": None, "reset_dag_run": None},
                {"conf": {"z": 1, "a": 1.0}, "reset_dag_run": False, "note": ""},
                {"logical_date": f"{moment}.123Z", "run_after": f"{moment}-08:00"},
                {"reset_dag_run": True, "note": "é", "partition_key": "p"},
            )
        ),
        {"type": "MaskSecret", "value": None},
        {"type": "MaskSecret", "value": {"a": [1, {"b": None}]}, "name": "x"},
        {"type": "SetTaskStateStore", "ti_id": UUID, "key": "a/b?c#d", "value": 1}
        | {"expires_at": f"{moment}.000000Z"},
    ]
