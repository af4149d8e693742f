# SPDX-License-Identifier: Apache-2.0
"""The tests of the tests: a difference is found, and what is none is not reported."""

from __future__ import annotations

import dataclasses
import http.client
import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlsplit

import pytest
from answers import default_answers
from api_server import DEFAULT, Answer, ApiServer, Request, Rule, Script
from case import Case, Outcome
from compare import Allowed, differences, render, replaced, without
from differences import ALLOWED

CASE = Case("a-case")
VALUE = {"z": 1, "a": [1.0, None]}
BEATING = dataclasses.replace(CASE, heartbeats=True)


def moment() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def request(method: str, route: str, body: Any = None, **headers: str) -> Request:
    data = b"" if body is None else json.dumps(body).encode()
    return Request(method, f"/execution{route}", {"authorization": "Bearer a.0", **headers}, data)


def line(event: str, **more: Any) -> dict[str, Any]:
    return {"timestamp": moment(), "level": "info", "event": event, **more}


def outcome(*log: Mapping[str, Any], pid: int = 1, **changes: Any) -> Outcome:
    """A task that started, heartbeat once, pushed a value and succeeded."""
    start = {"state": "running", "pid": pid, "start_date": moment()}
    requests = (
        request("PATCH", "/task-instances/x/run", start),
        request("PUT", "/task-instances/x/heartbeat", {"pid": pid}),
        request("POST", "/xcoms/d/r/t/k", VALUE),
        request("PATCH", "/task-instances/x/state", {"state": "success", "end_date": moment()}),
    )
    lines = log or (
        line("one"),
        line("two"),
        line("out", logger="task.stdout"),
    )
    made = Outcome(
        report={"outcome": "success", "info": ""},
        requests=requests,
        log=b"".join(json.dumps(one).encode() + b"\n" for one in lines),
        log_modes=("-rw-r--r--",),
        answers=('{"answer": 1}',),
    )
    return dataclasses.replace(made, **changes)


def found(one: Outcome, other: Outcome, case: Case = CASE, allowed: tuple[Allowed, ...] = ()):
    """What the comparison says, and which allowed differences it used."""
    used: set[str] = set()
    sections = [render(case, side, "/folder") for side in (one, other)]
    return differences(case, *sections, allowed, used), used


def with_request(number: int, changed: Request | None) -> Outcome:
    requests = list(outcome().requests)
    requests[number : number + 1] = [changed] if changed else []
    return outcome(requests=tuple(requests))


def pushed(value: Any) -> Outcome:
    return with_request(2, request("POST", "/xcoms/d/r/t/k", value))


@pytest.mark.parametrize(
    ("other", "section"),
    [
        (outcome(report={"outcome": "failed", "info": ""}), "report"),
        (outcome(report={"outcome": "success", "info": "x"}), "report"),
        (with_request(2, None), "requests"),
        (with_request(3, None), "requests"),
        (outcome(requests=(*outcome().requests, outcome().requests[2])), "requests"),
        (pushed({"z": 1, "a": [1, None]}), "requests"),
        (pushed({"z": 1.0, "a": [1.0, None]}), "requests"),
        (pushed({"a": [1.0, None], "z": 1}), "requests"),
        (pushed({"z": 1, "a": [1.0]}), "requests"),
        (with_request(2, request("POST", "/xcoms/d/r/t/K", VALUE)), "requests"),
        (with_request(2, request("POST", "/xcoms/d/r/t/k")), "requests"),
        (with_request(2, request("POST", "/xcoms/d/r/t/k", VALUE, traceparent="0")), "requests"),
        (outcome(line("two"), line("one"), line("out", logger="task.stdout")), "log: logs channel"),
        (outcome(line("one"), line("two")), "log: task.stdout"),
        (outcome(log=None), "log file"),
        (outcome(log=(outcome().log or b"")[:-1]), "log: not JSON"),
        (outcome(log=(outcome().log or b"") + b"plain\n"), "log: not JSON"),
        (outcome(log_modes=("-rw-rw-r--",)), "log file"),
        (outcome(answers=('{"answer": 1.0}',)), "answers"),
    ],
)  # fmt: skip
def test_difference_is_found_in_its_section(other: Outcome, section: str) -> None:
    told, _ = found(outcome(), other)
    assert section in [one.partition(":\n")[0] for one in told]


def test_runs_that_differ_in_time_processes_and_ports_agree() -> None:
    def made(pid: int, other: str, port: int, address: str) -> Outcome:
        return outcome(
            line("at", when=moment(), who=other, there=f"http://127.0.0.1:{port}/", at=address),
            line("took", took_ms=port, duration=port / 7),
            pid=pid,
        )

    one = made(11, "01a208fc-7e92-7b08-a4a8-c5200b6c0a4c", 15001, "<object at 0x7f0a1b2c>")
    other = made(22, "01a208fc-ffff-7b08-a4a8-c5200b6c0a4c", 15002, "<object at 0x7f0a9999>")
    assert found(one, other)[0] == []


def test_another_process_id_than_that_of_the_start_is_found() -> None:
    other = with_request(1, request("PUT", "/task-instances/x/heartbeat", {"pid": 99}))
    assert found(outcome(), other, BEATING)[0]


def test_order_between_streams_and_of_keys_in_log_lines_does_not_matter() -> None:
    one = outcome(line("one", x=1, y=2), line("out", logger="task.stdout"))
    other = outcome(line("out", logger="task.stdout"), line("one", y=2, x=1))
    assert found(one, other)[0] == []


def test_number_of_heartbeats_does_not_matter_but_what_they_say() -> None:
    first, beat, *rest = outcome().requests
    more = outcome(requests=(first, beat, beat, beat, *rest))
    assert found(outcome(), more, BEATING)[0] == []
    assert found(outcome(), with_request(1, None), BEATING)[0]
    assert found(outcome(), with_request(1, None))[0] == []


def test_moments_of_other_times_and_other_forms_are_found() -> None:
    for text in ("2026-01-02T03:04:05Z", moment().replace("Z", "+00:00"), moment()[:-2] + "Z"):
        assert found(outcome(line("x", at=moment())), outcome(line("x", at=text)))[0], text


def test_difference_in_a_long_text_is_found() -> None:
    one, other = (outcome(line("x" * 100_000 + end)) for end in ("a", "b"))
    told, _ = found(one, other)
    assert told and max(map(len, told)) < 10_000


def test_allowed_difference_is_used_only_where_it_applies() -> None:
    one, other = outcome(line("one")), outcome(line("one"), line("more"))
    allowed = Allowed("more", "a test", without(".*more.*"), sections="log: .*", cases="a-.*")
    assert found(one, other, allowed=(allowed,)) == ([], {"more"})
    assert found(one, one, allowed=(allowed,)) == ([], set())
    elsewhere = dataclasses.replace(allowed, cases="b-.*")
    assert found(one, other, allowed=(elsewhere,))[0]
    unrelated = dataclasses.replace(allowed, change=replaced("nothing", ""))
    assert found(one, other, allowed=(unrelated,))[1] == set()


def ask(api: ApiServer, method: str, path: str, task: str = "t") -> tuple[int, bytes, Any]:
    address = urlsplit(api.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    try:
        headers = {"Authorization": f"Bearer {task}.0"}
        connection.request(method, f"{address.path.rstrip('/')}{path}", headers=headers)
        response = connection.getresponse()
        return response.status, response.read(), response.headers
    finally:
        connection.close()


def test_server_answers_each_task_by_its_rules_and_then_as_usual() -> None:
    rules = (Rule("GET", "/variables/.*", (Answer(404), DEFAULT, Answer(409))),)
    with ApiServer() as api:
        api.scripts["t"] = Script(rules, default_answers({}))
        api.scripts["u"] = Script((), default_answers({}))
        assert [ask(api, "GET", "/variables/x?y=%20")[0] for _ in range(4)] == [404, 200, 409, 409]
        assert ask(api, "GET", "/variables/x", "u")[0] == 200
        assert ask(api, "HEAD", "/xcoms/d/r/t/k")[2]["Content-Range"] == "map_indexes 42"
        assert ask(api, "GET", "/variables/x", "stranger")[0] == 401
    assert api.scripts["t"].requests[0].path == "/execution/variables/x?y=%20"
    assert len(api.scripts["u"].requests) == len(api.strangers) == 1


@pytest.mark.parametrize("broken", ["reset", "half", "nonsense"])
def test_server_breaks_connections_as_it_is_told(broken: str) -> None:
    rules = (Rule(".*", ".*", (Answer(200, {"a": 1}, broken=broken),)),)
    with ApiServer() as api:
        api.scripts["t"] = Script(rules, default_answers({}))
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            ask(api, "GET", "/variables/x")
    assert len(api.scripts["t"].requests) == 1


def test_null_that_is_sent_as_no_body_hides_nothing_of_other_requests() -> None:
    (allowed,) = (entry for entry in ALLOWED if entry.name == "body of a null")
    typed = "    content-type: application/json"
    null, other = ["POST /xcoms/a", typed, "    x: y", "    null"], ["POST /b", typed, "    [1]"]
    assert allowed.change([*other, *null, *other]) == [*other, *null[:1], null[2], *other]
    assert allowed.change([*null, "POST /b", "    [1]"]) != allowed.change([*null, *other])
