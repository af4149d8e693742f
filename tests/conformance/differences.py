# SPDX-License-Identifier: Apache-2.0
"""The differences between Airflow's supervisor and ours that are meant to be, each with its reason.

An entry is as narrow as it can be. What is not here is a fault of ours, or has to be argued for.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from compare import Allowed, replaced, without
from messages import minor_version

_JSON_TYPE = "    content-type: application/json"


def _durations_in_seconds(lines: list[str]) -> list[str]:
    def seconds(found: re.Match[str]) -> str:
        days, hours, minutes, rest = (float(part or 0) for part in found.groups())
        return f'"{((days * 24 + hours) * 60 + minutes) * 60 + rest:.6f} seconds"'

    pattern = r'"P(?:(\d+)D)?T(?:(\d+)H)?(?:(\d+)M)?(?:([\d.]+)S)?"'
    return [re.sub(pattern, seconds, line) for line in lines]


def _without_null_bodies(lines: list[str]) -> list[str]:
    """Leaves out each null, the last line of its request, and the content type of that request."""
    kept: list[str] = []
    start = 0  # in kept, of the request
    for line in lines:
        if not line.startswith(" "):
            start = len(kept)
        if line == "    null":
            kept[start:] = [one for one in kept[start:] if one != _JSON_TYPE]
        else:
            kept.append(line)
    return kept


def _without_empty_fields(lines: list[str]) -> list[str]:
    lines = [re.sub(r',?("conf":\{\}|"reset_dag_run":null)', "", line) for line in lines]
    return [line.replace("{,", "{") for line in lines]


def _without_last_request(lines: list[str]) -> list[str]:
    """Leaves out the one that says that the task failed, after another one said how it ended."""
    starts = [number for number, line in enumerate(lines) if not line.startswith(" ")]
    ends = [number for number in starts if lines[number].endswith("/state")]
    if len(ends) < 2 or '{"state":"failed"' not in "".join(lines[ends[-1] :]):
        return lines
    return lines[: ends[-1]]


# The server answers 200 with something that its own schema does not have.
WRONG_SHAPES = "messages-(empty-.*|text|null|array|not-json|no-content|half-once|nonsense-once)"

_ALL: tuple[Allowed, ...] = (
    Allowed(
        "first line of a task that is refused",
        "The process of the task is there before the server is asked, and logs a line before it "
        "learns what to do. Whether it gets so far before it is killed is chance, with Airflow's "
        "supervisor too.",
        without(r'.*"::group::Pre Execute".*'),
        sections="log: logs channel",
        cases="start-.*",
        sometimes=True,
    ),
    Allowed(
        "peak memory of a killed task",
        "Ours adds to Airflow's words how much memory a task had that was killed by SIGKILL, as "
        "it tells whether that was for want of memory.",
        replaced(r'"peak_memory_mb":\d+,| \(its peak was \d+ MB\)', ""),
        sections="report|log: supervisor",
    ),
    Allowed(
        "no guess at memory when we killed it",
        "The worker itself killed the task: because it was told to, because the server said so, or "
        "after [core] task_success_overtime. Airflow's supervisor knows no better than that it "
        "was probably for want of memory.",
        replaced("SIGKILL, probably out of memory", "SIGKILL"),
        sections="report",
        cases="killed-.*|heartbeat-.*|callback-never-ends|execution-timeout-.*|start-cleared",
    ),
    Allowed(
        "no failure after an accepted end",
        "When the server has accepted how the task ended, and its process then ends badly, "
        "Airflow's supervisor says that the task has failed, which the server refuses (409), as "
        "the task is not running any more. Ours does not ask.",
        _without_last_request,
        sections="requests",
        cases="callback-never-ends|last-words-.*-then-1",
    ),
    Allowed(
        "words of a refused start or end",
        "The reason is for people, in the executor's log. Ours names the status and what the "
        "server said, Airflow's the class of the exception. The outcome, on which the executor "
        "decides, is the same.",
        replaced(r"(?s)^info: .+", "info: (words)"),
        sections="report",
        cases="start-.*|end-failed-.*|last-words-(TaskState|RetryTask)-.*|stopped-then-broken|conflict-TaskState",
    ),
    Allowed(
        "words of an error without Airflow's own answer",
        "Where the server's answer is no error as Airflow words it, or is none at all, the task "
        "gets the text of a Python exception: httpx's, json's or pydantic's, which change with "
        "their versions. Ours has words of its own. That it is an error is the same.",
        replaced(
            r"""(status_code['"]: (?:null|None), ['"]message['"]: )"""
            r"""("(?:\\.|[^"\\])*"|'[^']*'|\\"(?:[^"\\]|\\[^"])*\\")"""
            r"""(, ['"]exception_type['"]: ['"])\w+""",
            r"\1(words)\3(kind)",
        ),
        sections="answers|log: logs channel",
    ),
    Allowed(
        "words for a chunk of no possible size",
        "Airflow 3.4 logs the text of httpx2's exception when it could not reach the server; ours "
        "has words of its own. Both lines say that, and where.",
        replaced(
            r'("event":"Could not reach the Execution API server[^"]*","error":")(?:\\.|[^"\\])*"',
            r'\1(words)"',
        ),
        sections="log: supervisor",
        cases=".*chunk-negative.*",
        sometimes=True,
    ),
    Allowed(
        "who notices an answer of the wrong shape",
        "Where the server breaks its own schema, Airflow's supervisor refuses the answer, and ours "
        "hands it on to the task, whose model refuses it. The task gets an exception either way.",
        replaced(r'("message": "(?!GetAssetsByAlias)\w+"), "error": .*', r"\1, error"),
        sections="answers",
        cases=WRONG_SHAPES,
    ),
    Allowed(
        "an empty object instead of a list",
        "Airflow's client goes through an object as through a list, of its keys, and finds none.",
        replaced(r'("message": "GetAssetsByAlias"), .*', r"\1"),
        sections="answers",
        cases=WRONG_SHAPES,
    ),
    Allowed(
        "log of an answer of the wrong shape",
        "The task's process logs that it could not decode what it was handed on, see above.",
        without(r'.*"event":"Unable to decode message".*'),
        sections="log: logs channel",
        cases=WRONG_SHAPES,
    ),
    Allowed(
        "a start without what a start needs",
        "An answer to the start that lacks what it must have. Airflow's supervisor kills the "
        "process and reports a failure; with ours the process itself finds out and fails.",
        lambda lines: [],
        sections="requests|log: .*",
        cases="start-(empty-(context|object)|start-date-array)",
    ),
    Allowed(
        "fields that were set to their default",
        "Which of an answer's fields came from the server and which are pydantic's defaults. "
        "Airflow's supervisor drops some that equal the default or adds all, by message; ours "
        "hands on what the server sent. The values are the same.",
        replaced(r', "set": \[[^]]*\]', ""),
        sections="answers",
    ),
    Allowed(
        "body of a null",
        "Airflow's client sends null as no body at all, ours as null. The server takes both for "
        "None.",
        _without_null_bodies,
        sections="requests",
        cases="values-pushed|messages-.*",
    ),
    Allowed(
        "defaults of a triggered DAG run",
        "Ours leaves out what says nothing: conf {} is the server's default, and null is none of "
        "the values that its reset_dag_run may have.",
        _without_empty_fields,
        sections="requests",
        cases="messages-.*",
    ),
    Allowed(
        "a number beyond doubles",
        "Python reads 1e400 as infinity; ours takes it for a broken answer. Airflow's server has "
        "no way to write such a number.",
        replaced(
            r'("GetXCom"), "(answer".*"value": Infinity|error".*"message": \(words\)).*', r"\1"
        ),
        sections="answers",
        cases="values-from-server",
    ),
    Allowed(
        "names that break URLs",
        "Airflow's client leaves ? and # in the names of things as they are, so that what follows "
        "is a query or lost, and thus asks for something else. Ours escapes them.",
        replaced(r'^([A-Z]+) /.*|("message": "GetXComSequenceItem").*', r"\1\2"),
        sections="requests|answers",
        cases="messages-names-that-break-urls",
    ),
    Allowed(
        "escapes in URLs",
        "Which letters of a path are sent escaped though they need not be.",
        lambda lines: [unquote(line) if "/execution/" in line else line for line in lines],
        sections="requests",
        cases="messages-names",
    ),
    Allowed(
        "secrets that begin alike",
        "Of two secrets, one the beginning of the other, Airflow hides the one that comes first "
        "in a set's order, and may show the rest of the longer. Ours hides the longer.",
        replaced(r"\*\*\*bbbbb\*\*\*|\*{6}", "***"),
        sections="log: .*",
        cases="output-masked-secrets",
    ),
    Allowed(
        "a timestamp that is none",
        "A value named timestamp in a task's log line that is not a moment ends Airflow's "
        "supervisor, and the task with it. Ours writes the line as it is.",
        lambda lines: [],
        cases="output-logged-bad-timestamp",
        until=(3, 4),
    ),
    Allowed(
        "form of durations",
        "P1DT2H3M4S and P1DT7384S are the same to the server. The first is pydantic's, the second "
        "what the task sent.",
        _durations_in_seconds,
        sections="requests",
    ),
    Allowed(
        "pydantic's UTC",
        "The moments of StartupDetails reach the task as text; pydantic makes them of that, with "
        "its own class for UTC, where Airflow's come as MessagePack's timestamps with Python's. "
        "They are equal and print alike; only repr() tells.",
        replaced(r"<now in TzInfo\(0\)>", "<now in datetime.timezone.utc>"),
        sections="log: logs channel",
    ),
)
ALLOWED = tuple(entry for entry in _ALL if minor_version() < entry.until)
