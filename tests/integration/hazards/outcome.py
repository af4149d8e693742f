# SPDX-License-Identifier: Apache-2.0
"""What the tasks of one Airflow have seen, and of what kind that is. Pure.

Of a value that differs in each process (a number of a process, a random one) two executors can only
agree on that: it differs. So what is compared is not the values but their kinds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

DIFFERENT = "different in each task"
OLD, NEW = "before the edits", "after the edits"


@dataclass
class Seen:
    """What one task saw, and what was done at its end."""

    hazard: str
    pid: int
    parent: str
    when: str  # OLD or NEW
    values: dict[str, Any]
    after: list[str] = field(default_factory=list)


def read(lines: Iterable[str], when: Sequence[str]) -> list[Seen]:
    """The tasks of a file of seen.py. when has for each line whether it came after the edits."""
    tasks: dict[tuple[str, int], Seen] = {}
    ends: list[tuple[str, int, str]] = []
    for text, moment in zip(lines, when, strict=True):
        line = json.loads(text)
        key = line["hazard"], line["pid"]
        if "after" in line:
            ends.append((*key, line["after"]))
        else:
            tasks[key] = Seen(*key, line["parent"], moment, line["values"])
    for hazard, pid, what in ends:
        if (hazard, pid) in tasks:  # else the DAG processor's
            tasks[hazard, pid].after.append(what)
    return list(tasks.values())


def kinds(tasks: Sequence[Seen]) -> dict[str, Any]:
    """By the name of a value what kind it is, of the tasks of one hazard.

    Either DIFFERENT, or the value that all saw, or by OLD and NEW the value that all saw then.
    """
    names = sorted({name for task in tasks for name in task.values})
    found = {name: kind([(one.when, one.values.get(name)) for one in tasks]) for name in names}
    if any(task.after for task in tasks):
        found["after"] = kind([(task.when, sorted(task.after)) for task in tasks])
    return found


def kind(values: Sequence[tuple[str, Any]]) -> Any:
    """See kinds(). What is neither equal nor different is returned as it is, for the message."""
    texts = [json.dumps(value, sort_keys=True) for _, value in values]
    if len(set(texts)) == 1:
        return values[0][1]
    if len(set(texts)) == len(texts):
        return DIFFERENT
    by_moment: dict[str, set[str]] = {}
    for (moment, _), text in zip(values, texts, strict=True):
        by_moment.setdefault(moment, set()).add(text)
    if len(by_moment) == 2 and all(len(seen) == 1 for seen in by_moment.values()):
        return {moment: json.loads(seen.pop()) for moment, seen in by_moment.items()}
    return {"mixed": [json.loads(text) for text in texts]}


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What two hazards' kinds do not agree on."""
    return {
        name: (one.get(name), other.get(name))
        for name in sorted({*one, *other})
        if name not in one or name not in other or one[name] != other[name]
    }
