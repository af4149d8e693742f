# SPDX-License-Identifier: Apache-2.0
"""What the workers' logs and the tasks' own lines say of when things happened. Pure.

All times are seconds since the epoch; everything runs on one machine, so they compare.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from dataclasses import dataclass

Key = tuple[str, str, str, int]  # DAG, run, task, map index

_OURS = re.compile(r"^(\S+Z) info (start|end) dispatch=(\S+)")
# 2026-11-23T18:50:00.123456Z [info     ] Task name[id] received ...
_CELERY = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)[.,](\d+)(Z?)"
    r".*? Task \S+?\[([0-9a-f-]{36})\] (received|succeeded)"
)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Hold:
    """When a worker took a task, and when it had a free slot again."""

    claimed: float | None = None
    freed: float | None = None


@dataclass(frozen=True)
class UserCode:
    """When the code of a task's author ran."""

    began: float
    ended: float


def our_holds(lines: Iterable[str]) -> dict[str, Hold]:
    """By dispatch id, from the log of zk-worker.

    "start" is written when the claim's transaction has been answered, "end" when the slot is free.
    """
    holds: dict[str, Hold] = {}
    for line in lines:
        if match := _OURS.match(line):
            when = datetime.datetime.fromisoformat(match[1].replace("Z", "+00:00")).timestamp()
            _put(holds, match[3], match[2] == "start", when)
    return holds


def celery_holds(lines: Iterable[str]) -> dict[str, Hold]:
    """By Celery's task id, from the log of a Celery worker at level INFO.

    A pool process takes another task after it has written that one succeeded.
    """
    holds: dict[str, Hold] = {}
    for line in lines:
        if match := _CELERY.search(_COLOUR.sub("", line)):
            day, clock, fraction, utc, task, what = match.groups()
            when = datetime.datetime.fromisoformat(f"{day}T{clock}.{fraction[:6].ljust(6, '0')}")
            if utc:
                when = when.replace(tzinfo=datetime.timezone.utc)
            _put(holds, task, what == "received", when.timestamp())
    return holds


def user_code(lines: Iterable[str]) -> dict[Key, UserCode]:
    """By task instance, from the lines that the tasks of dags/ write."""
    found = {}
    for line in lines:
        dag, run, task, index, began, ended = line.rstrip("\n").split("\t")
        found[dag, run, task, int(index)] = UserCode(int(began) / 1e9, int(ended) / 1e9)
    return found


def _put(holds: dict[str, Hold], task: str, begins: bool, when: float) -> None:
    hold = holds.setdefault(task, Hold())
    if begins:
        hold.claimed = when
    else:
        hold.freed = when
