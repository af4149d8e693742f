# SPDX-License-Identifier: Apache-2.0
"""Renders what came of a case as text in which equal things are equal, and compares two of them.

What can differ between two runs of the same program is replaced: moments near now, process ids,
random uuids, durations, addresses in memory, ports, folders. Nothing else is.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from api_server import Request
from case import Case, Outcome

LINE_MAX = 3000
CONTEXT_LINES = 3
Sections = dict[str, list[str]]

_MOMENT = re.compile(
    r"(20\d\d-\d\d-\d\d)([T ])(\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)?", re.ASCII
)
_MOMENT_REPR = re.compile(
    r"datetime\.datetime\((20\d\d), (\d+), (\d+), [\d, ]+tzinfo=([\w.]+(?:\(0\))?)\)"
)
_RANDOM_UUID = re.compile(
    r"\b[0-9a-f]{8}-[0-9a-f]{4}-[47][0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE
)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}\b")
_LOCAL_PORT = re.compile(r"(127\.0\.0\.1|localhost):\d+")
_DURATION_KEYS = re.compile(r".*(_ms|duration|seconds)$")


class Normaliser:
    """Replaces what differs between runs. One per outcome, as it knows the task's process id."""

    def __init__(self, outcome: Outcome, folder: str) -> None:
        self._folder = folder
        self._pid = next(filter(None, map(_pid_of_start, outcome.requests)), None)

    def text(self, text: str) -> str:
        text = text.replace(self._folder, "<folder>")
        text = _MOMENT.sub(_near_now, text)
        text = _MOMENT_REPR.sub(_repr_near_now, text)
        text = _RANDOM_UUID.sub("<uuid>", text)
        text = _ADDRESS.sub("<address>", text)
        return _LOCAL_PORT.sub(r"\1:<port>", text)

    def value(self, value: Any, key: str = "") -> Any:
        """The same for JSON, whose keys tell more."""
        if isinstance(value, dict):
            return {self.text(name): self.value(part, name) for name, part in value.items()}
        if isinstance(value, list):
            return [self.value(part) for part in value]
        if isinstance(value, str):
            return self.text(value)
        if key == "pid" and isinstance(value, int):
            return "<pid of the task>" if value == self._pid else "<pid>"
        if _DURATION_KEYS.fullmatch(key) and isinstance(value, (int, float)):
            return f"<{type(value).__name__}>"
        return value


def _pid_of_start(request: Request) -> int | None:
    if not request.route.endswith("/run"):
        return None
    try:
        return json.loads(request.body).get("pid")
    except ValueError:
        return None


def _near_now(found: re.Match[str]) -> str:
    date, between, time, fraction, zone = found.groups()
    try:
        moment = datetime.fromisoformat(f"{date}T{time}").replace(tzinfo=timezone.utc)
    except ValueError:
        return found[0]
    if abs(moment - datetime.now(timezone.utc)) > timedelta(days=2):
        return found[0]
    digits = len(fraction) - 1 if fraction else 0
    return f"<now{between}.{digits}{zone or ''}>"


def _repr_near_now(found: re.Match[str]) -> str:
    *date, zone = found.groups()
    moment = datetime(*map(int, date), tzinfo=timezone.utc)
    near = abs(moment - datetime.now(timezone.utc)) < timedelta(days=2)
    return f"<now in {zone}>" if near else found[0]


def _shortened(line: str) -> str:
    if len(line) <= LINE_MAX:
        return line
    digest = hashlib.sha256(line.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{line[:200]}<... {len(line)} characters in all, sha256 {digest}>"


def _json(value: Any) -> str:
    # Keys stay in their order, which is user data; 1 and 1.0 stay different.
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def render(case: Case, outcome: Outcome, folder: str) -> Sections:
    """An outcome as sections of lines."""
    normal = Normaliser(outcome, folder)
    beats = [request for request in outcome.requests if request.route.endswith("/heartbeat")]
    others = [request for request in outcome.requests if request not in beats]
    sections: Sections = {
        "report": [f"{key}: {normal.text(text)}" for key, text in outcome.report.items()],
        "requests": list(_requests(others, normal)),
        "heartbeats": list(_heartbeats(beats, normal)) if case.heartbeats else [],
        "answers": [_shortened(normal.text(line)) for line in outcome.answers],
        "log file": list(outcome.log_modes) if outcome.log is not None else ["there is none"],
    }
    for name, lines in _log(outcome.log or b"", normal).items():
        sections[f"log: {name}"] = lines
    return sections


def _heartbeats(requests: Sequence[Request], normal: Normaliser) -> Iterable[str]:
    # How many there are, and between what, is a matter of time.
    told = ["\n".join(_requests([request], normal)) for request in requests]
    return "\n".join(dict.fromkeys(told)).splitlines()


def _requests(requests: Sequence[Request], normal: Normaliser) -> Iterable[str]:
    for request in requests:
        headers = request.headers.items()
        yield f"{request.method} {request.path}"
        yield from (f"    {name}: {_header(name, text, normal)}" for name, text in sorted(headers))
        if request.body:
            yield _shortened(f"    {_body(request.body, normal)}")


def _header(name: str, text: str, normal: Normaliser) -> str:
    # The server takes any text for this one. The form is that of a uuid.
    return _UUID.sub("<uuid>", text) if name == "correlation-id" else normal.text(text)


def _body(body: bytes, normal: Normaliser) -> str:
    try:
        return _json(normal.value(json.loads(body)))
    except ValueError:
        return repr(body)


def _log(log: bytes, normal: Normaliser) -> Sections:
    """
    The log's lines by the stream they came in: only within one is their order defined.

    A line's first three keys keep their places; of the others Airflow's order is that of
    ContextVars in memory.
    """
    streams: Sections = {}
    for raw in log.split(b"\n"):
        if not raw:
            continue
        try:
            line = json.loads(raw)
        except ValueError:
            streams.setdefault("not JSON", []).append(_shortened(repr(raw)))
            continue
        line = normal.value(line)
        keys = list(line)
        ordered = {key: line[key] for key in (*keys[:3], *sorted(keys[3:]))}
        streams.setdefault(_stream(line), []).append(_shortened(_json(ordered)))
    if log and not log.endswith(b"\n"):
        streams["not JSON"] = [*streams.get("not JSON", []), "the last line does not end"]
    return streams


def _stream(line: Mapping[str, Any]) -> str:
    logger = line.get("logger")
    if logger in ("task.stdout", "task.stderr"):
        return logger
    if logger == "task" and "filename" not in line:
        return "supervisor"
    return "resent channel" if str(logger).startswith("resent") else "logs channel"


@dataclass(frozen=True)
class Allowed:
    """
    A difference that is meant to be, and why.

    In the sections and cases whose names match the patterns, both sides' lines go through
    ``change`` before they are compared. ``sometimes``: it needs not be there in every run.
    """

    name: str
    reason: str
    change: Callable[[list[str]], list[str]]
    sections: str = ".*"
    cases: str = ".*"
    sometimes: bool = False
    until: tuple[int, int] = (99, 0)  # the minor version of Airflow that is like ours


def replaced(pattern: str, replacement: str) -> Callable[[list[str]], list[str]]:
    """A change of what matches within a line."""
    return lambda lines: [re.sub(pattern, replacement, line) for line in lines]


def without(pattern: str) -> Callable[[list[str]], list[str]]:
    """A change that leaves out lines which match as a whole."""
    return lambda lines: [line for line in lines if not re.fullmatch(pattern, line)]


def differences(
    case: Case, one: Sections, other: Sections, allowed: Sequence[Allowed], used: set[str]
) -> list[str]:
    """
    What differs beyond what is allowed, section by section, as unified diffs.

    The names of the allowed differences that there were are added to ``used``.
    """
    found = []
    for section in dict.fromkeys((*one, *other)):
        left, right = one.get(section, []), other.get(section, [])
        for entry in allowed:
            if left == right:
                break
            if re.fullmatch(entry.sections, section) and re.fullmatch(entry.cases, case.name):
                changed = entry.change(left), entry.change(right)
                if _distance(*changed) < _distance(left, right):
                    used.add(entry.name)
                left, right = changed
        if left != right:
            diff = difflib.unified_diff(left, right, lineterm="", n=CONTEXT_LINES)
            found.append("\n".join([f"{section}:", *list(diff)[2:]]))
    return found


def _distance(left: list[str], right: list[str]) -> int:
    """How many lines are on one side only."""
    ours, theirs = Counter(left), Counter(right)
    return (ours - theirs).total() + (theirs - ours).total()
