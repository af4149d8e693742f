# SPDX-License-Identifier: Apache-2.0
"""Every case: cases of whole tasks, of single messages, and of the server's misbehaviour."""

from __future__ import annotations

from typing import Any

import messages
from answers import run_context
from api_server import DEFAULT, Answer, Rule
from case import Case, Kill
from messages import LAST_WORDS, UUID

from zk_executor.worker.supervise_versions import AIRFLOW_3_4, installed

RUN = "/task-instances/[^/]+/run"
STATE = "/task-instances/[^/]+/state"
HEARTBEAT = "/task-instances/[^/]+/heartbeat"
RENDERED = "/task-instances/[^/]+/rtif"
# What a task asks for; not what its supervisor does of itself.
ASKED = "/(?!task-instances/[^/]+/(run|state|heartbeat)).*"
# Messages that are answered without the API server; Airflow's supervisor refuses the last two.
ANSWERED_HERE = frozenset(
    {"MaskSecret", "ResendLoggingFD", "GetHITLDetailResponse", "UpdateHITLDetail"}
)

NOT_FOUND = Answer(404, {"detail": {"reason": "not_found", "message": "There is none"}})
FORBIDDEN = Answer(403, {"detail": {"reason": "access_denied", "message": "Not yours"}})
CONFLICT = Answer(409, {"detail": {"reason": "conflict", "message": "é"}})
INVALID = Answer(
    422,
    {"detail": [{"loc": ["body", "x"], "msg": "Field required", "type": "missing", "input": {}}]},
)
BROKEN = Answer(500, {"detail": "Internal trouble"})
HTML = Answer(502, b"<html>Bad Gateway</html>", content_type="text/html")

DEEP = b"[" * 100_000 + b"]" * 100_000


def _chunked(size: bytes) -> Answer:
    """An answer whose first chunk has this for its size."""
    # It says that it closes, or the answer to a HEAD, which has no chunks, would leave the client a
    # connection that is closed already.
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
        b"Transfer-Encoding: chunked\r\n"
    )
    return Answer(body=head + b"\r\n" + size + b"\r\n{}\r\n0\r\n\r\n", broken="raw")


RUNNING_ELSEWHERE = {
    "detail": {"reason": "invalid_state", "message": "x", "previous_state": "running"}
}

FAULTS: dict[str, tuple[Answer | None, ...]] = {
    "not-found": (NOT_FOUND,),
    "unauthorized": (Answer(401, {"detail": "Invalid auth token: expired"}),),
    "forbidden": (FORBIDDEN,),
    "conflict": (CONFLICT,),
    "gone": (Answer(410, {"detail": {"reason": "gone"}}),),
    "invalid": (INVALID,),
    "broken-once": (BROKEN, DEFAULT) * 200,
    "broken": (BROKEN,),
    "html": (HTML,),
    "not-found-html": (Answer(404, b"<html>", content_type="text/html"),),
    "error-with-charset": (
        Answer(409, {"detail": "x"}, content_type="application/json; charset=utf-8"),
    ),
    "error-without-detail": (Answer(409, {"other": 1}),),
    "error-without-body": (Answer(409),),
    "error-not-json": (Answer(409, b"not json"),),
    "reset-once": (Answer(broken="reset"), DEFAULT) * 200,
    "half-once": (Answer(200, {"a": 1}, broken="half"), DEFAULT) * 200,
    "nonsense-once": (Answer(broken="nonsense"), DEFAULT) * 200,
    "redirect": (Answer(307, headers={"Location": "/execution/elsewhere"}),),
    "empty-200": (Answer(200),),
    "null": (Answer(200, b"null"),),
    "empty-object": (Answer(200, {}),),
    "text": (Answer(200, "a text"),),
    "not-json": (Answer(200, b"{not json"),),
    "no-content": (Answer(204),),
    "redirect-see-other": (Answer(303, headers={"Location": "/execution/elsewhere"}),),
    "not-modified": (Answer(304),),
    "error-detail-null": (Answer(409, {"detail": None}),),
    "error-reason-null": (Answer(409, {"detail": {"reason": None, "previous_state": None}}),),
    "error-detail-number": (Answer(404, {"detail": 5}),),
    "error-detail-list": (Answer(422, {"detail": [1, {"msg": None}]}),),
    "error-array": (Answer(409, [{"detail": "x"}]),),
    "error-deep": (Answer(409, b'{"detail":' + DEEP + b"}"),),
    "error-not-utf-8": (Answer(409, b'{"detail":"\xff\xfe"}'),),
    "deep": (Answer(200, DEEP),),
    "not-utf-8": (Answer(200, b'{"key":"\xff","value":1}'),),
    "array": (Answer(200, [1, "a"]),),
    "number": (Answer(200, b"18446744073709551616"),),
    "chunk-negative": (_chunked(b"-2"),),
    "chunk-minus-one": (_chunked(b"-1"),),
    "chunk-no-number": (_chunked(b"zz"),),
}

# What these do is seen well enough in cases of messages.
TOLD_BY_MESSAGES = frozenset(
    {"no-content", "error-with-charset", "error-without-detail", "error-without-body"}
    | {"error-not-json", "null", "text", "not-found-html", "nonsense-once", "half-once"}
    | {"number", "chunk-minus-one", "chunk-no-number", "not-modified"}
)


def messages_cases() -> list[Case]:
    """Single messages, many to a task, under well- and misbehaving servers."""
    everything = messages.all_generated()
    apart = LAST_WORDS | messages.ACTED_ON | {"ResendLoggingFD"}
    one_each = [messages.generated(kind)[-1] for kind in sorted(set(messages.models()) - apart)]
    some = [{"type": "GetVariable", "key": f"key_{number}"} for number in range(5)] + [
        {"type": "SetXCom", "dag_id": "d", "run_id": "r", "task_id": "t", "key": "k", "value": 1}
    ]
    cases = [
        Case("messages-generated", "send_all", {"messages": everything}),
        Case("messages-hand-written", "send_all", {"messages": messages.hand_written()}),
        Case("messages-names", "send_all", {"messages": messages.with_names(*messages.NAMES)}),
        Case(
            "messages-names-that-break-urls",
            "send_all",
            {"messages": messages.with_names(*messages.NAMES_THAT_BREAK_URLS)},
        ),
        Case("messages-values", "send_all", {"messages": messages.with_values(messages.VALUES)}),
        Case(
            "messages-values-not-json",
            "send_all",
            {"messages": messages.with_values(messages.ODD_VALUES)},
        ),
        Case("messages-nan", "send_all", {"messages": messages.with_nan()}),
        Case("messages-coroutines", "send_in_coroutines", {"messages": some}),
        Case("messages-in-pieces", "send_in_pieces", {"messages": some}),
        Case("messages-at-once", "send_at_once", {"messages": some}),
        Case("messages-half", "half_a_message", {"messages": some}),
        Case("messages-channel-closed", "close_channel"),
    ]
    asking = sum(one["type"] not in ANSWERED_HERE for one in one_each)
    for name, answers in FAULTS.items():
        # There is no half of the answer to a HEAD: it would spoil the order of the others.
        half = name.startswith("half")
        rules = (
            # The first is sent before the task's own code runs: a task that is refused there
            # sends no message at all.
            Rule("PUT", RENDERED, (DEFAULT, *answers)),
            Rule("(?!HEAD).*" if half else ".*", ASKED, answers),
        )
        plan = {"messages": one_each}
        case = Case(f"messages-{name}", "send_all", plan, rules, rules_answer=asking - half)
        cases.append(case)
    return cases


def values_from_server_cases() -> list[Case]:
    """Values of the user, on their way to the task."""
    keys = [f"value_{number}" for number in range(len(messages.VALUES))]
    rules = tuple(
        Rule("GET", f".*/xcoms/.*/{key}", (Answer(200, {"key": key, "value": value}),))
        for key, value in zip(keys, messages.VALUES, strict=True)
    )
    ask = [
        {"type": "GetXCom", "dag_id": "d", "run_id": "r", "task_id": "t", "key": key}
        for key in (
            *keys,
            "duplicate",
            "numbers",
            "huge",
            "infinite",
            "escapes",
            "spaces",
            "bom",
            "extra",
        )
    ]
    raw = {
        "duplicate": b'{"key":"k","value":{"a":1,"b":2,"a":3}}',
        "numbers": b'{"key":"k","value":[1E5,-0,0.10,1e-400,1.0E+2]}',
        "huge": b'{"key":"k","value":18446744073709551616}',
        "infinite": b'{"key":"k","value":1e400}',
        "escapes": rb'{"key":"k","value":"\u00e9\ud83d\ude00\/\u0000\b"}',
        "spaces": b' {\n\t"key" : "k" ,\r\n"value" : [ 1 , 2 ] } \n',
        "bom": b'\xef\xbb\xbf{"key":"k","value":1}',
        "extra": b'{"key":"k","value":1,"new_field":{"x":[1]}}',
    }
    rules += tuple(Rule("GET", f".*/{key}", (Answer(200, text),)) for key, text in raw.items())
    return [Case("values-from-server", "send_all", {"messages": ask}, rules)]


def last_words_cases() -> list[Case]:
    """The messages that end a task, each in a task that then exits at once."""
    cases = []
    server = {
        "broken-then-accepted": (Rule(".*", STATE, (*(BROKEN,) * 3, DEFAULT)),),
        "broken": (Rule(".*", STATE, (BROKEN,)),),
        "conflict": (Rule(".*", STATE, (CONFLICT,)),),
    }
    for kind in sorted(LAST_WORDS):
        for number, message in enumerate(messages.generated(kind), 1):
            plan = {"messages": [message]}
            cases.append(Case(f"last-words-{kind}-{number}", "send_and_vanish", plan))
        for name, rules in server.items():
            cases.append(Case(f"last-words-{kind}-{name}", "send_and_vanish", plan, rules))
        again = {"should_retry": True} if kind in ("SucceedTask", "TaskState") else {}
        cases.append(
            Case(f"last-words-{kind}-then-1", "send_and_vanish", plan | {"code": 1}, context=again)
        )
    state = {"type": "TaskState", "state": "failed", "rendered_map_index": "é"}
    return [
        *cases,
        Case("last-words-none", "send_and_vanish", {"messages": []}),
        Case(
            "last-words-two",
            "send_and_vanish",
            {"messages": [messages.generated("DeferTask")[0], state]},
        ),  # noqa: E501
        Case("last-words-rendered", "send_and_vanish", {"messages": [state]}),
    ]


def _may_retry(name: str, task: str, plan: dict[str, Any] | None = None, **more: Any) -> list[Case]:
    """A failing task without and with tries left."""
    retry = {"max_tries": 2, "should_retry": True}
    return [
        Case(name, task, plan or {}, **more),
        Case(f"{name}-may-retry", task, plan or {}, context=retry, **more),
    ]


def task_cases() -> list[Case]:
    """Whole tasks that end in every way."""
    names = ("succeed", "succeed_silently", "skip", "defer", "reschedule", "short_circuit")
    odd_run = "odd: +@=,;%20 é漢 ~!*'()"
    carrier = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    cases = [Case(f"ends-{name}", name) for name in (*names, "emit_assets", "templated")]
    for name in ("fail", "fail_for_good", "fail_in_group"):
        cases += _may_retry(f"ends-{name}", name)
    for name in ("SIGSEGV", "SIGTERM", "SIGABRT", "SIGINT", "SIGHUP"):
        cases.append(Case(f"ends-by-{name}", "signal_itself", {"signal": name}))
    cases += _may_retry("ends-by-SIGKILL", "signal_itself", {"signal": "SIGKILL"})
    for code in (0, 1, 255, "a text", None):
        cases.append(Case(f"ends-by-sys-exit-{code}", "leave", {"code": code}))
    cases.append(Case("ends-at-once", "leave_at_once", {"code": 99}))
    return [
        *cases,
        Case("mapped", "mapped", ti={"map_index": 2}),
        Case("second-try", "fail", ti={"try_number": 2}, context={"max_tries": 1}),
        Case("odd-run-id", "succeed", context={"dag_run": {"run_id": odd_run}}),
        Case("trace", "succeed", ti={"context_carrier": carrier}),
        Case("missing-dag-file", "succeed", change={"dag_rel_path": "no/such.py"}),
        Case("missing-task", "no_such_task"),
        Case("missing-dag", "succeed", ti={"dag_id": "no_such_dag"}),
        Case("import-error", "succeed", change={"dag_rel_path": "import_error.py"}),
        Case(
            "import-error-may-retry",
            "succeed",
            change={"dag_rel_path": "import_error.py"},
            context={"should_retry": True, "max_tries": 1},
        ),  # fmt: skip
        Case("no-log", "succeed", change={"log_path": None}),
        Case("callback-never-ends", "callback_never_ends"),
        Case("killed-term-on-kill", "on_kill_ends_it", kill=Kill("term")),
        Case("killed-term", "wait_and_give_in", kill=Kill("term")),
        Case("killed-kill", "wait_for_end", kill=Kill("kill")),
        Case(
            "killed-kill-may-retry",
            "wait_for_end",
            kill=Kill("kill"),
            context={"should_retry": True},
        ),  # fmt: skip
        Case("unknown-workload", change={"type": "Whatever"}),
    ]


def output_cases() -> list[Case]:
    """What tasks print and log."""
    writes = {
        "empty-lines": [[1, "\n\n\nx\n\n", 1], [2, "\n\n", 1]],
        "unterminated": [[1, "no end", 1], [2, "none here", 1]],
        "carriage-returns": [[1, "a\r\nb\rc\r\n\r\n", 1]],
        "trailing-spaces": [[1, "a  \t \n  b\x0b\x0c\n \n", 1]],
        "not-utf-8": [[1, "\xff\xfe\x00\x01\n\xc3\n\xe9\xa8 \xed\xa0\x80 \xf4\x90\x80\x80\n", 1]],
        "binary": [[1, "".join(map(chr, range(256))), 40], [1, "\n", 1]],
        "one-long-line": [[1, "x", 1_000_000], [1, "\n", 1]],
        "utf-8-across-reads": [[1, "é".encode().decode("latin-1"), 5001], [1, "\nx", 1]],
        "many-lines": [[1, "line\n", 3000]],
        "line-separators": [[1, "a\u0085b\x1cc\x1dd\x1ee\xe2\x80\xa8f\n", 1]],
    }
    return [
        *(Case(f"output-{name}", "raw_output", {"writes": what}) for name, what in writes.items()),
        *(
            Case(f"output-{name.replace('_', '-')}", name)
            for name in (
                *("output_then_death", "printed_lines", "logged_lines", "long_lines"),
                *("logged_bad_timestamp", "masked_secrets", "tokens_in_output"),
            )
        ),
        Case(
            "output-secrets-of-server",
            "secrets_of_server",
            rules=tuple(
                Rule("GET", f"/variables/{key}", (Answer(200, {"key": key, "value": value}),))
                for key, value in (
                    ("harmless", "harmless-value"),
                    ("my_password", "secret-by-name"),
                    ("api_key", '{"json": "secret-json"}'),
                )
            ),
        ),
        *(
            Case(f"process-{name.replace('_', '-')}", name)
            for name in (
                *("child_reconnects", "child_writes", "child_outlives_task"),
                *("child_writes_late", "forked_children"),
            )
        ),
    ]


def value_cases() -> list[Case]:
    """Values that tasks push and pull."""
    values = [[f"key {n} é", value] for n, value in enumerate(messages.VALUES)]
    values += [["nan", float("nan")], ["infinite", [float("inf")]], ["dict", {"2": 1, "1": 2}]]
    return [
        Case("values-pushed", "push_values", {"values": values}),
        Case("values-large", "push_large"),
        Case("values-deep", "push_deep"),
        Case(
            "values-pulled",
            "pull_values",
            {"keys": ["here", "large", "none"]},
            (
                Rule("GET", ".*/here/slice", (Answer(200, [{"z": 1, "a": 1.0}]),)),
                Rule("GET", ".*/none/slice", (NOT_FOUND,)),
                Rule("GET", ".*/large/slice", (Answer(200, ["x" * 5_000_000]),)),
            ),
        ),
    ]


def start_cases() -> list[Case]:
    """The server's answers to the start of a task."""

    def state(previous: str, reason: str = "invalid_state") -> Answer:
        detail = {"reason": reason, "message": "é", "previous_state": previous}
        return Answer(409, {"detail": detail})

    def started(**changes: Any) -> Answer:
        return Answer(200, run_context(changes))

    odd = {"null": None, "text": "yes", "number": 1, "array": [], "other-text": "perhaps"}
    answers: dict[str, tuple[Answer | None, ...]] = {
        "running-elsewhere": (state("running"),),
        "already-done": (state("success"),),
        "cleared": (state("restarting"),),
        "restarting-elsewhere": (state("restarting", "running_elsewhere"),),
        "timeout-once": (Answer(200, delay=10), DEFAULT),
        "empty-context": (Answer(200, {}),),
        **{f"should-retry-{name}": (started(should_retry=value),) for name, value in odd.items()},
        "start-date-array": (started(start_date=[1]),),
        "running-elsewhere-html": (Answer(409, RUNNING_ELSEWHERE, content_type="text/html"),),
        "running-elsewhere-odd": (Answer(409, {**RUNNING_ELSEWHERE["detail"], "detail": None}),),
        **{name: what for name, what in FAULTS.items() if name not in TOLD_BY_MESSAGES},
    }
    resumed = {
        "next_method": "execute_complete",
        "next_kwargs": {"event": "x", "z": 1.0},
        "start_date": "2026-01-01T00:00:00Z",
    }
    return [
        *(
            Case(f"start-{name}", "succeed", rules=(Rule(".*", RUN, what),))
            for name, what in answers.items()
        ),
        Case("start-date-number", "succeed_silently", context={"start_date": 1_780_000_000}),
        Case("start-resumed", "defer", context=resumed),
        Case("start-new-field", "succeed", context={"new_field": {"x": [1]}}),
        Case("start-clears-xcoms", "succeed", context={"xcom_keys_to_clear": ["a b", "c/d"]}),
        Case("start-new-token", "secrets_of_server", refresh=True),
    ]


def server_cases() -> list[Case]:
    """The server's answers while a task runs and when it ends."""
    cases = []
    for status in (404, 409, 410):
        stop = Answer(status, {"detail": {"reason": "not_running", "current_state": "failed"}})
        rules = (Rule("PUT", HEARTBEAT, (DEFAULT, stop)),)
        for task in ("wait_for_end", "wait_and_give_in"):
            name = f"heartbeat-{status}-{task.replace('_', '-')}"
            cases.append(Case(name, task, rules=rules, heartbeats=True))
    beats: dict[str, tuple[Answer | None, ...]] = {
        "broken": (DEFAULT, BROKEN),
        "unauthorized": (DEFAULT, FAULTS["unauthorized"][0]),
        "html-404": (DEFAULT, FAULTS["not-found-html"][0]),
        "redirect": (DEFAULT, FAULTS["redirect"][0]),
        "detail-null": (DEFAULT, FAULTS["error-detail-null"][0]),
        "reason-null": (DEFAULT, FAULTS["error-reason-null"][0]),
        "detail-text": (DEFAULT, Answer(409, {"detail": "x"})),
        "detail-deep": (DEFAULT, FAULTS["error-deep"][0]),
        "array": (DEFAULT, FAULTS["error-array"][0]),
    }
    for name, what in beats.items():
        rules = (Rule("PUT", HEARTBEAT, what),)
        cases.append(Case(f"heartbeat-{name}", "wait_and_give_in", rules=rules, heartbeats=True))
    refreshing = tuple(
        Answer(204, headers={"Refreshed-API-Token": f"server-new-tokens.{n}"}) for n in range(1, 4)
    )
    asks = {"messages": [{"type": "DeleteVariable", "key": str(n)} for n in range(5)]}
    late = Rule("GET", "/variables/late", (Answer(200, delay=10), DEFAULT))
    late_ask = {"messages": [{"type": "GetVariable", "key": "late"}]}
    for name in (
        *("not-found", "conflict", "invalid", "broken", "html", "reset-once", "redirect"),
        *("redirect-see-other", "error-detail-null", "error-deep", "chunk-negative"),
    ):
        rules = (Rule(".*", STATE, FAULTS[name]),)
        cases.append(Case(f"end-{name}", "succeed_silently", rules=rules))
        cases += _may_retry(f"end-failed-{name}", "fail", rules=rules)
    return [
        *cases,
        Case("server-new-tokens", "send_all", asks, (Rule("DELETE", ".*", refreshing),)),
        Case("server-slow-once", "send_all", late_ask, (late,)),
        Case("server-rendered-fields-gone", "templated",
             rules=(Rule("PUT", ".*/rtif", (Answer(410, {"detail": {"reason": "x"}}),)),)),
    ]  # fmt: skip


def execution_timeout_cases() -> list[Case]:
    """Tasks that do not heed their execution_timeout, which the supervisor enforces since 3.4."""
    if messages.minor_version() < (3, 4):
        return []
    timeout = {"type": "SetExecutionTimeout", "timeout_seconds": 1.0}
    plan = {"messages": [timeout]}
    said = {"type": "TaskState", "state": "failed", "end_date": messages.BY_FORMAT["date-time"]}
    retry = {"max_tries": 2, "should_retry": True}
    return [
        Case("execution-timeout", "overrun", plan | {"gives_in": True}),
        Case("execution-timeout-deaf", "overrun", plan),
        Case("execution-timeout-may-retry", "overrun", plan | {"gives_in": True}, context=retry),
        Case("execution-timeout-in-time", "send_all", plan),
        Case("execution-timeout-told", "send_then_linger", {"messages": [timeout, said]}),
        Case(
            "execution-timeout-set-again",
            "overrun",
            {"messages": [timeout | {"timeout_seconds": 600}, timeout], "gives_in": True},
        ),
    ]


def conflict_cases() -> list[Case]:
    """Outcomes that the server refuses, or that come when it has stopped the task."""
    cases = stopped_cases() if installed().dialect >= AIRFLOW_3_4 else []
    for kind in ("RetryTask", "TaskState", "SucceedTask", "DeferTask"):
        plan = {"messages": [messages.generated(kind)[0]]}
        rules = (Rule("PATCH", STATE, (CONFLICT, NOT_FOUND)),)
        cases.append(Case(f"conflict-{kind}", "send_then_linger", plan, rules))
    return cases


def stopped_cases() -> list[Case]:
    """What the server answers when it hears of the end of a task that it has stopped itself.

    Airflow 3.3 tells it nothing then.
    """
    stop = Answer(409, {"detail": {"reason": "not_running", "current_state": "failed"}})
    # Not the first: on a loaded machine the task has then hardly begun.
    stopped = (Rule("PUT", HEARTBEAT, (*(DEFAULT,) * 5, stop)),)
    return [
        Case(
            f"stopped-then-{name}",
            "wait_and_give_in",
            rules=(*stopped, Rule("PATCH", STATE, answers)),
        )
        for name, answers in (
            ("not-found", (NOT_FOUND,)),
            ("conflict", (CONFLICT,)),
            ("gone", FAULTS["gone"]),
            ("broken", (BROKEN,)),
        )
    ]


def other_workloads() -> list[Case]:
    """Callbacks and tests of connections, which no task process runs."""

    def callback(path: str) -> dict[str, Any]:
        data = {"path": path, "kwargs": {"text": "é"}, "dag_run_id": 17, "dag_id": "conformance"}
        callback = {"id": UUID, "fetch_method": "import_path", "data": data}
        return {"type": "ExecuteCallback", "callback": callback}

    test = {"connection_test_id": UUID, "connection_id": "x", "timeout": 5, "queue": None}
    return [
        Case("callback-succeeds", change=callback("conformance_tasks.callbacks.succeed")),
        Case("callback-fails", change=callback("conformance_tasks.callbacks.fail")),
        Case("callback-missing", change=callback("conformance_tasks.callbacks.no_such")),
        Case("connection-test", change={"type": "TestConnection", **test}),
    ]


def all_cases() -> list[Case]:
    """Every case there is. Their names differ."""
    return [
        *(case for make in MAKERS.values() for case in make()),
    ]


MAKERS = {
    "messages": messages_cases,
    "values from the server": values_from_server_cases,
    "last words": last_words_cases,
    "tasks": task_cases,
    "output": output_cases,
    "values": value_cases,
    "start": start_cases,
    "server": server_cases,
    "execution timeout": execution_timeout_cases,
    "conflicts": conflict_cases,
    "other workloads": other_workloads,
}
