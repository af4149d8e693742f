# SPDX-License-Identifier: Apache-2.0
"""What happened in a chaos run, and whether it was allowed. Pure but for History.read()."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

# An event that no end is: the dispatch is placed again under the same id.
AGAIN = "token"
# What may end a worker's session, or its processes, without its doing.
WORKER_FAULTS = frozenset(
    {
        "worker_kill",
        "worker_stop",
        "worker_pause",
        "worker_freeze",
        "worker_drain",
        "worker_partition",
        "host_kill",
        "leader_kill",
        "follower_kill",
        "leader_partition",
        "leader_pause",
        "ensemble_restart",
    }
)
SCHEDULER_FAULTS = frozenset({"scheduler_kill", "scheduler_replace"})
# Which faults may be the cause of an outcome other than success.
CAUSES = {
    "lost": WORKER_FAULTS,
    "failed": WORKER_FAULTS | {"zygote_kill"},
    "already_running": WORKER_FAULTS | SCHEDULER_FAULTS,
    "killed": frozenset(),
    "gone": SCHEDULER_FAULTS,
    "handed_back": frozenset({"worker_drain"}),
    "rejected": frozenset(),
    "stale": frozenset(),
}
# How long after its end a fault may still show: session timeout, grace, intervals of looking.
AFTERMATH_SECONDS = 30.0
# From a run's end to the moment in which its scheduler has recorded it, at most.
TAKEN_SECONDS = 10.0


@dataclass(frozen=True)
class Fault:
    """A fault and when it was there, on the clock that never goes back."""

    kind: str
    begin: float
    end: float
    target: str = ""


@dataclass(frozen=True)
class Step:
    """A line of the ledger: start, refused, end or killed."""

    time: float
    what: str
    dispatch: str
    worker: str = ""


@dataclass(frozen=True)
class Event:
    """What a scheduler was told of a dispatch."""

    time: float
    dispatch: str
    outcome: str
    worker: str = ""


@dataclass
class History:
    """Everything that was recorded. placed: when, and as what kind, by dispatch."""

    placed: dict[str, tuple[float, str]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    @staticmethod
    def read(folder: Path, faults: Iterable[Fault]) -> History:
        """Read the files of the schedulers and of the workers."""
        history = History(faults=list(faults))
        for file in sorted(folder.glob("*.placed")):
            for when, dispatch, kind in _lines(file):
                history.placed[dispatch] = (float(when), kind)
        for file in sorted(folder.glob("*.events")):
            history.events += [Event(float(when), *rest) for when, *rest in _lines(file)]
        for file in sorted(folder.glob("*.ledger")):
            history.steps += [Step(float(when), *rest) for when, *rest in _lines(file)]
        return history


@dataclass
class Verdict:
    """violations: a line each, with the evidence. counts: what to print."""

    violations: list[str]
    counts: dict[str, object]


def judge(history: History) -> Verdict:
    """Check every promise for every dispatch."""
    events: dict[str, list[Event]] = defaultdict(list)
    for event in sorted(history.events, key=lambda one: one.time):
        events[event.dispatch].append(event)
    steps: dict[str, list[Step]] = defaultdict(list)
    for step in sorted(history.steps, key=lambda one: one.time):
        steps[step.dispatch].append(step)
    violations = []
    outcomes: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for dispatch, (when, kind) in history.placed.items():
        final = [event for event in events[dispatch] if event.outcome != AGAIN]
        wrong = [
            *_end_problems(final),
            *_start_problems(kind, final, steps[dispatch]),
            *_cause_problems(when, final, history.faults),
            *_result_problems(final, steps[dispatch], history.faults),
        ]
        violations += [f"{dispatch} ({kind}): {one}" for one in wrong]
        if final:
            outcomes[final[0].outcome] += 1
        counts["repeated"] += max(0, len(final) - 1)
        counts["handed_back"] += len(events[dispatch]) - len(final)
        whats = [step.what for step in steps[dispatch]]
        counts["refused_at_gate"] += whats.count("refused")
        if final and final[0].outcome == "lost" and "start" not in whats:
            counts["lost_unstarted"] += 1
    unknown = (set(events) | set(steps)) - set(history.placed)
    violations += [f"{dispatch}: was never placed" for dispatch in sorted(unknown)]
    faults = Counter(fault.kind for fault in history.faults)
    return Verdict(
        violations,
        {
            "dispatches": len(history.placed),
            "faults": dict(sorted(faults.items())),
            "outcomes": dict(sorted(outcomes.items())),
            "lost_unstarted": counts["lost_unstarted"],
            "refused_at_gate": counts["refused_at_gate"],
            "handed_back": counts["handed_back"],
            "repeated": counts["repeated"],
            "violations": len(violations),
        },
    )


def _end_problems(final: list[Event]) -> list[str]:
    """Exactly one end; the same end told twice is a repetition, not a contradiction."""
    if not final:
        return ["has no final event"]
    outcomes = sorted({event.outcome for event in final})
    return [f"ended as {' and as '.join(outcomes)}"] if len(outcomes) > 1 else []


def _start_problems(kind: str, final: list[Event], steps: list[Step]) -> list[str]:
    """At most one start; none after the end was told; a success has run to its end."""
    problems = []
    starts = [step for step in steps if step.what == "start"]
    if len(starts) > 1:
        where = " and ".join(f"worker {step.worker} at {step.time:.3f}" for step in starts)
        problems.append(f"started {len(starts)} times: {where}")
    if not final:
        return problems
    told = final[0]
    for start in starts:
        if start.time > told.time:
            late = f"started at {start.time:.3f} by worker {start.worker}"
            problems.append(f"{late}, after it was told as {told.outcome} at {told.time:.3f}")
    ends = [step for step in steps if step.what == "end" and step.time <= told.time]
    if told.outcome == "success" and not (starts and ends):
        problems.append("is a success but has not run to its end")
    return problems


def _cause_problems(placed: float, final: list[Event], faults: list[Fault]) -> list[str]:
    """An outcome other than success has a fault that may have caused it."""
    problems = []
    for event in final:
        if event.outcome == "success":
            continue
        causes = CAUSES.get(event.outcome, frozenset())
        caused = any(
            fault.kind in causes
            and fault.begin <= event.time
            and fault.end + AFTERMATH_SECONDS >= placed
            for fault in faults
        )
        if not caused:
            problems.append(f"ended as {event.outcome} without a fault that explains it")
    return problems


def _result_problems(final: list[Event], steps: list[Step], faults: list[Fault]) -> list[str]:
    """What has run to its end has a result: it is not gone.

    But for a result that a scheduler had taken, and so removed, in the moment in which it died.
    """
    if not final or final[0].outcome != "gone":
        return []
    ends = [step for step in steps if step.what == "end" and step.time <= final[0].time]
    taken = any(
        fault.kind in SCHEDULER_FAULTS and fault.begin - TAKEN_SECONDS <= end.time <= fault.begin
        for fault in faults
        for end in ends
    )
    return [] if taken or not ends else [f"is gone, but had run to its end at {ends[0].time:.3f}"]


def _lines(file: Path) -> list[list[str]]:
    return [line.split() for line in file.read_text().splitlines()]
