# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds that the fuzzers start from: frames as Airflow's task runner makes them, answers
as the API server words them, what tasks log, and what clients send to a worker's HTTP server. Run
it with the Python of the newest Airflow, whose messages are the most, and commit.

    .build/venv-3.4.0b2/bin/python tests/fuzz/make_corpus.py
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, get_args
from uuid import UUID

from airflow.sdk.execution_time import comms

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
sys.path.insert(0, str(HERE.parent / "conformance"))

import answers  # noqa: E402

TI = UUID("01900000-0000-7000-8000-000000000001")
TIME = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone.utc)
VALUE = {
    "z": [1, 1.0, -1, 2**63, -(2**63), 1e300, True, None],
    "a": {"é \U0001f600": 'quo"te\\ \n\x1b[0m', "": {}, "list": [[], [{}]]},
}
TRACE = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
# Values by the field's name, for all messages.
FIELDS: dict[str, Any] = {
    "alias_name": "an alias",
    "after": TIME,
    "before": TIME,
    "ascending": False,
    "body": "text",
    "chosen_options": ["yes"],
    "classpath": "airflow.triggers.Some",
    "conf": {"a": [1, {"b": None}]},
    "conn_id": "a connection/ä%20?",
    "dag_id": "a_dag",
    "defaults": ["yes"],
    "description": None,
    "end_date": TIME,
    "expires_at": TIME,
    "include_prior_dates": True,
    "key": "a key/with#all%of it",
    "limit": 5,
    "logical_date": TIME,
    "logical_dates": [TIME, TIME],
    "map_index": 3,
    "mapped_length": 2,
    "name": "a name",
    "next_kwargs": {"event": None},
    "next_method": "execute_complete",
    "note": "a note",
    "offset": 4,
    "options": ["yes", "no"],
    "prefix": "pre",
    "rendered_fields": {"bash_command": "echo", "env": VALUE},
    "rendered_map_index": "label",
    "reschedule_date": TIME,
    "reset_dag_run": True,
    "retry_delay_seconds": 1.5,
    "run_id": "manual__2026-01-02T03:04:05+00:00",
    "run_ids": ["one", "two"],
    "start": None,
    "step": 2,
    "stop": -1,
    "subject": "Which?",
    "task_id": "a_task",
    "task_ids": ["a_task"],
    "tasks": ["one", ("two", 2)],
    "ti_id": TI,
    "timeout": timedelta(seconds=90),
    "trigger_kwargs": {"moment": "now"},
    "try_number": 2,
    "uri": "s3://bucket/key",
    "value": VALUE,
}
STATUSES = (200, 404, 0, 201, 204, 401, 403, 409, 410, 422, 500, 503, 302, 600)  # answer_fuzzer.cc


def main() -> None:
    shutil.rmtree(CORPUS, ignore_errors=True)
    corpora = {
        "request": requests(),
        "answer": replies(),
        "log": logs(),
        "task": tasks(),
        "http": http(),
    }
    for name, seeds in corpora.items():
        folder = CORPUS / name
        folder.mkdir(parents=True)
        for title, seed in seeds.items():
            (folder / title).write_bytes(seed)
        print(f"{name}: {len(seeds)} seeds, {sum(map(len, seeds.values()))} bytes")


def requests() -> dict[str, bytes]:
    """Every message that a task may send."""
    seeds = {}
    messages = get_args(get_args(comms.ToSupervisor)[0])
    for number, message in enumerate(messages):
        told = {k: FIELDS[k] for k, f in message.model_fields.items() if k in FIELDS}
        if message.__name__ == "TaskState":
            told["state"] = "failed"
        if message.__name__ == "PutVariable":
            told["value"] = "text"
        body = message.model_construct(**told).model_dump(warnings=False)
        frame = comms._RequestFrame(number, body, TRACE if number % 3 == 0 else None)
        seeds[message.__name__] = bytes(frame.as_bytes())
    seeds["two-frames"] = seeds["GetVariable"] + seeds["SetXCom"]
    # What msgpack can and JSON cannot, and other bodies.
    raw = {
        "bytes": b"\x92\x01\x82\xa4type\xa7SetXCom\xa5value\xc4\x01\x00",
        "float32": b"\x92\x01\x82\xa4type\xa7SetXCom\xa5value\xca\x3f\x9d\xf3\xb6",
        "nan": b"\x92\x01\x82\xa4type\xa7SetXCom\xa5value\xcb\x7f\xf8" + bytes(6),
        "timestamp-32": b"\x92\x01\x82\xa4type\xa7SetXCom\xa5value\xd6\xff\x60\x00\x00\x00",
        "timestamp-64": b"\x92\x01\x82\xa4type\xa7SetXCom\xa5value\xd7\xff" + bytes(range(8)),
        "timestamp-96": b"\x92\x01\x82\xa4type\xa7SetXCom\xa5value\xc7\x0c\xff" + bytes(12),
        "key-integer": b"\x92\x01\x82\xa4type\xa7SetXCom\xa5value\x81\x01\x02",
        "key-array": b"\x92\x01\x82\xa4type\xa7SetXCom\x91\x01\x02",
        "array-32": b"\x92\x01\x82\xa4type\xa7SetXCom\xa5value\xdd\x00\x00\x00\x01\xc0",
        "not-utf-8": b"\x92\x01\x82\xa4type\xa7SetXCom\xa5value\xa1\xff",
        "no-body": b"\x92\x01\xc0",
        "deep": b"\x92\x01\x82\xa4type\xa7GetXCom\xa3key" + b"\x91" * 1500 + b"\xc0",
    }
    for name, payload in raw.items():
        seeds[name] = len(payload).to_bytes(4, "big") + payload
    return seeds


def replies() -> dict[str, bytes]:
    """An answer of the right shape for every route, errors, and JSON in odd forms."""
    types = route_types()
    seeds = {}

    def add(title: str, route: str, status: int, body: Any, content_type: int = 0) -> None:
        text = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        head = bytes((types.index(route), STATUSES.index(status), content_type))
        seeds[title] = head + text

    for route, body in {
        "GetAssetByName": answers.ASSET,
        "GetAssetEventByAsset": {"asset_events": [answers.ASSET_EVENT]},
        "GetAssetsByAlias": [answers.ASSET],
        "GetConnection": answers.CONNECTION,
        "GetDRCount": 3,
        "GetDag": answers.DAG,
        "GetDagRun": answers.DAG_RUN,
        "GetDagRunState": {"state": "running"},
        "GetPreviousDagRun": answers.DAG_RUN,
        "GetPreviousTI": answers.PREVIOUS_TI,
        "GetTICount": 4,
        "GetTaskRescheduleStartDate": answers.LONG_AGO,
        "GetTaskStates": {"task_states": {"run": {"a_task": "success", "other": None}}},
        "GetVariable": {"key": "a_key", "value": "text"},
        "GetVariableKeys": {"keys": ["one", "two"], "total_entries": 2},
        "GetXCom": {"key": "return_value", "value": VALUE},
        "GetXComSequenceItem": VALUE,
        "GetXComSequenceSlice": [1, "two", None],
        "PutVariable": {"message": "Variable successfully set"},
        "SucceedTask": None,
        "ValidateInletsAndOutlets": {"inactive_assets": []},
    }.items():
        add(route, route, 200, body)
    add("GetXComCount", "GetXComCount", 200, b"map_indexes 12")
    add("GetXComCount-zeros", "GetXComCount", 200, b"map_indexes 007")
    detail = {"detail": {"reason": "not_found", "message": "no such thing"}}
    for route in ("GetConnection", "GetXCom", "GetXComSequenceItem", "GetTaskStateStore", "GetDag"):
        add(f"{route}-404", route, 404, detail)
    add("text-detail", "GetDagRun", 409, {"detail": "exists"})
    add("validation-error", "SetXCom", 422, {"detail": [{"loc": ["body"], "msg": "no"}]})
    add("denied", "GetVariable", 403, detail)
    add("gone", "SetRenderedFields", 410, detail)
    add("gone-state", "SucceedTask", 410, detail)
    add("html", "GetDagRun", 503, b"<html>busy</html>", 1)
    add("no-answer", "GetDagRun", 0, b"connection refused", 2)
    add("redirect", "GetDagRun", 302, b"")
    add("empty-object", "GetDag", 200, b" { \n} ")
    add("type-inside", "GetDag", 200, {"type": "Other", "owners": "me"})
    add("big-integer", "GetXCom", 200, {"value": 2**64})
    add("byte-order-mark", "GetDRCount", 200, b"\xef\xbb\xbf3")
    add("nul", "GetDRCount", 200, b"3\0")
    add("spaces", "GetDRCount", 200, b"\r\n\t 3 ")
    add("floats", "GetXCom", 200, b'{"value":[1.0,1e5,-0.0,-0,1E-7,123456789012345678]}')
    add("surrogates", "GetXCom", 200, b'{"value":"\\ud83d\\ude00\\u00e9\\/"}')
    add("deep", "GetXComSequenceItem", 200, b"[" * 1500 + b"]" * 1500)
    return seeds


def http() -> dict[str, bytes]:
    """Requests, well-meant and not, in packets of some size (0: as large as can be)."""
    get = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    log = b"GET /log/%s HTTP/1.1\r\nHost: x\r\nAuthorization: @TOKEN@\r\n\r\n"
    health = get.replace(b"metrics", b"health/live")
    post = b"POST /metrics HTTP/1.1\r\nHost: x\r\n"
    chunked = post + b"Transfer-Encoding: chunked\r\n\r\n"
    packets = {
        "metrics": get,
        "health": health + health.replace(b"live", b"ready"),
        "head": get.replace(b"GET", b"HEAD") + get,
        "log": log % b"a.log",
        "log-head": (log % b"a.log").replace(b"GET", b"HEAD"),
        "log-encoded": log % b"%61.log?x=y",
        "log-missing": log % b"b.log",
        "log-outside": log % b"..%2fa.log",
        "no-token": (log % b"a.log").replace(b"Authorization", b"X"),
        "in-one-packet": get * 3 + log % b"a.log" + get.replace(b"metrics", b"") + get,
        "absolute": get.replace(b"/metrics", b"http://x:1/metrics#a"),
        "close": get.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive, close\r\n\r\n") + get,
        "old": get.replace(b"1.1", b"1.0"),
        "version-2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "version-none": b"GET /metrics\r\n\r\n",
        "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64)),
        "chunk-negative": chunked + b"-2\r\nhello\r\n",
        "chunk-huge": chunked + b"ffffffffffffffff\r\nhello\r\n",
        "chunk-garbage": chunked + b"zz\r\nhello\r\n",
        "chunks": chunked + b"5\r\nhello\r\n0\r\n\r\n" + get,
        "body": post + b"Content-Length: 5\r\n\r\nhello",
        "body-none": post + b"Content-Length: 0\r\n\r\n" + get,
        "body-negative": post + b"Content-Length: -1\r\n\r\n",
        "body-twice": post + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello",
        "large-head": b"GET / HTTP/1.1\r\nA: " + b"a" * 16300 + b"\r\n\r\n",
        "folded": b"GET /metrics HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        "bare-lf": get.replace(b"\r", b""),
        "nul": get.replace(b"x", b"\0"),
        "begun": get[:-2],
    }
    seeds = {name: b"\0" + packet for name, packet in packets.items()}
    return seeds | {f"{name}-slowly": b"\7" + packets[name] for name in ("log", "in-one-packet")}


def route_types() -> list[str]:
    table = HERE.parents[1] / "worker" / "supervise" / "route_table.cc"
    return re.findall(r'Route\{"(\w+)"', table.read_text())


def logs() -> dict[str, bytes]:
    """Events as Airflow's structlog writes them, prints, and what a masker must see through."""
    head = '{"timestamp":"2026-01-02T03:04:05.678901Z","level":"info","event":'
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
    lines = {
        "plain": head + '"Done. Returned value was: None","logger":"airflow.task","loc":"a.py:1"}',
        "escapes": head + '"a \\u001b[31mred\\u001b[0m \\"word\\"\\n and \\\\ more"}',
        "warn": '{"event":"careful","level":"warn","timestamp":"2026-01-02T03:04:05Z"}',
        "exception": head.replace("info", "error")
        + '"Task failed","exception":[{"exc_type":"ValueError","exc_value":"no","frames":'
        '[{"filename":"a.py","lineno":1,"name":"f"}],"is_group":false}]}',
        "empty-exception": head + '"x","exception":[]}',
        "token": head + f'"with {token} in it","jwt":"{token}"}}',
        "token-escaped": head + '"with \\u0065yJhbGciOiJIUzI1NiJ9 in it"}',
        "secret": head + '"my-own-secret and hunter2hunter2","args":["a hunter2hunter2",1]}',
        "secret-escaped": head + '"hunter2\\u0068unter2"}',
        "secret-quoted": head + '"a \\"quoted\\\\ one","x":"two\\nlines","y":"schlüssel"}',
        "secret-ascii": head + '"schl\\u00fcssel"}',
        "telling-names": head + '"x","password":"abc","api_key":{"a":["b",1]},"conf":{"token":""}}',
        "telling-escaped": head + '"x","pass\\u0077ord":"abc","api\\nkey":"def"}',
        "numbers": head + '"x","n":[1,1.0,-0,1e5,18446744073709551616,null,true]}',
        "not-an-object": '["level","info"]',
        "no-level": '{"event":"x"}',
        "other-level": '{"event":"x","level":"loud"}',
        "event-null": '{"event":null,"level":"info"}',
        "event-object": '{"event":{"password":"x"},"level":"info"}',
        "twice": head + '"x","event":"y","level":"error"}',
        "nul": head + '"x"}\0{"a":"b"}',
        "byte-order-mark": "\ufeff" + head + '"x"}',
        "spaces": '  { "level" : "info" , "event" : "x" }\r',
        "text": "a print with hunter2hunter2 and my-own-secret  \t\r",
        "text-token": f"Bearer {token}, eyJ, eyJeyJ",
        "several": "one\n\ntwo\n" + head + '"three"}\nno end',
        "deep": head + '"x","a":[[[[[["hunter2hunter2"]]]]]]}',
        "very-deep": '{"level":"info","event":' + "[" * 1500 + "]" * 1500 + "}",
    }
    seeds = {name: f"my-own-secret\n{text}\n".encode() for name, text in lines.items()}
    seeds["not-utf-8"] = b"my-own-secret\n\xff\xfe hunter2hunter2 \xe9\n"
    seeds["secret-short"] = b"abcd\nabcd abcde\n"
    seeds["secret-in-secret"] = b"hunter2\nhunter2 hunter2hunter2hunter2\n"
    seeds["secret-token"] = b"xxeyJabc\nxxeyJabc eyJabc xxeyJabcdef\n"
    return seeds


# Of task_fuzzer.cc.
TASK_STATUSES = (200, 204, 201, 404, 409, 410, 401, 403, 0, 500, 503, 422, 400, 302, 307, 100)
ANSWER, ASK, TICK, LOG, EXIT, CLOSED, KILL, HELPER = 0, 4, 7, 8, 10, 11, 12, 13
GOOD_START = bytes((ANSWER, 0, 0, 1))


def tasks() -> dict[str, bytes]:
    """Lives of a task: answers in their order, and answers that nobody expects."""
    types = route_types()

    def text(content: bytes) -> bytes:
        return len(content).to_bytes(2, "big") + content

    def answer(status: int, body: bytes = b"") -> bytes:
        return bytes((ANSWER, TASK_STATUSES.index(status), 0, 0)) + text(body)

    def ask(what: str | int, value: bytes = b'"x"') -> bytes:
        return bytes((ASK, what if isinstance(what, int) else types.index(what))) + text(value)

    end = bytes((EXIT, 0, CLOSED))
    beat = bytes((TICK, 100))
    started = {
        "succeeds": ask("SucceedTask") + answer(204) + end,
        "asks": ask("GetVariable") + answer(200, b'{"key":"k","value":"v"}') + end,
        "masks": ask("GetConnection") + answer(200, b'{"password":"p","extra":"{}"}') + end,
        "masks-nothing": ask("GetConnection") + answer(200, b'{"password":null,"extra":[1]}') + end,
        "triggers": ask("TriggerDagRun", b"true") + answer(409, b"{}") + answer(204) + end,
        "stopped": beat + answer(409, b'{"detail":{"reason":"not_running"}}') + end,
        "stopped-null": beat + answer(404, b'{"detail":null}') + end,
        "beats": beat + answer(204) + beat + answer(500) + beat + beat + answer(500) + end,
        "told-twice": ask("DeferTask") + answer(500) * 3 + end,
        "fails": ask(200, b'"failed"') + bytes((EXIT, 1, CLOSED)) + answer(204),
        "killed": bytes((KILL, EXIT, 247, CLOSED)),
        "helped": ask(203) + bytes((HELPER, 1)) + end,
        "logs": bytes((LOG,)) + text(b'{"event":"x","level":"info"}') + end,
        "any-request": ask(255, b"\x93\x01\x80\xc0") + end,
        "odd-fields": ask("GetXCom", b'{"a":[null,1e300]}') + answer(404, b'{"detail":5}') + end,
    }
    starts = {
        "start-null": b'{"should_retry":null}',
        "start-array": b"[]",
        "start-text": b'{"should_retry":"yes","start_date":1}',
        "start-date": b'{"should_retry":false,"start_date":{"a":[]}}',
        "start-not-utf-8": b'{"should_retry":"\xff"}',
        "start-deep": b"[" * 1500 + b"]" * 1500,
    }
    refusals = {
        "refused-running": b'{"detail":{"reason":"invalid_state","previous_state":"running"}}',
        "refused-null": b'{"detail":{"reason":null,"previous_state":[]}}',
        "refused-number": b'{"detail":5}',
        "refused-invalid": b'{"detail":[{"loc":["a",1],"msg":"m","type":"t"}]}',
    }
    return {
        **{name: b"\x01" + GOOD_START + rest for name, rest in started.items()},
        **{name: b"\x00" + answer(200, body) + end for name, body in starts.items()},
        **{name: b"\x00" + answer(409, body) + end for name, body in refusals.items()},
        "redirected": b"\x00" + answer(307) + end,
        "exits-first": b"\x00" + end + answer(0, b"refused"),
    }


if __name__ == "__main__":
    main()
