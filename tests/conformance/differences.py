# SPDX-License-Identifier: Apache-2.0
"""The differences between Airflow's supervisor and ours that are meant to be, each with its reason.

An entry is as narrow as it can be. What is not here is a fault of ours, or has to be argued for.
"""

from __future__ import annotations

import re

from compare import Allowed, replaced, without


def _durations_in_seconds(lines: list[str]) -> list[str]:
    def seconds(found: re.Match[str]) -> str:
        days, hours, minutes, rest = (float(part or 0) for part in found.groups())
        return f'"{((days * 24 + hours) * 60 + minutes) * 60 + rest:.6f} seconds"'

    pattern = r'"P(?:(\d+)D)?T(?:(\d+)H)?(?:(\d+)M)?(?:([\d.]+)S)?"'
    return [re.sub(pattern, seconds, line) for line in lines]


def _without_last_request(lines: list[str]) -> list[str]:
    """Leaves out the one that says that the task failed, after another one said how it ended."""
    starts = [number for number, line in enumerate(lines) if not line.startswith(" ")]
    ends = [number for number in starts if lines[number].endswith("/state")]
    if len(ends) < 2 or '{"state":"failed"' not in "".join(lines[ends[-1] :]):
        return lines
    return lines[: ends[-1]]


ALLOWED: tuple[Allowed, ...] = (
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
        cases="killed-.*|heartbeat-.*|callback-never-ends",
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
        cases="start-.*|end-failed-.*",
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
