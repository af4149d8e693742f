# SPDX-License-Identifier: Apache-2.0
"""From the times of tasks to figures. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dispatch.measures import median, percentile
from tasks.logs import Hold, UserCode


@dataclass(frozen=True)
class Sample:
    """What happened to a task, when."""

    queued: float
    hold: Hold | None
    code: UserCode | None
    recorded: float  # its end, as the task told it

    def complete(self) -> bool:
        return bool(self.code and self.hold and self.hold.claimed and self.hold.freed)

    @property
    def start_s(self) -> float:
        """From the worker's claim to the user's code."""
        return self.code.began - self.hold.claimed

    @property
    def queued_s(self) -> float:
        """From the scheduler's queueing to the user's code."""
        return self.code.began - self.queued

    @property
    def tail_s(self) -> float:
        """From the end of the user's code until the slot can be used again."""
        return self.hold.freed - self.code.ended


@dataclass(frozen=True)
class FanRun:
    """One run of many tasks; cpu and idle_per_s by process family, in seconds."""

    samples: Sequence[Sample]
    cpu: Mapping[str, float]
    idle_per_s: Mapping[str, float]
    seconds: float
    worker_faults: int = 0

    def cpu_ms(self, family: str) -> float:
        """CPU for each task, without what is used when there are none."""
        busy = self.cpu[family] - self.idle_per_s[family] * self.seconds
        return 1000 * busy / len(self.samples)

    def faults(self) -> float:
        """Page faults of the worker and its processes for each task."""
        return self.worker_faults / len(self.samples)

    def per_s(self) -> float:
        """Tasks a second, from the first queued to the last ended."""
        ended = max(sample.recorded for sample in self.samples)
        return len(self.samples) / (ended - min(sample.queued for sample in self.samples))


def of_chain(samples: Sequence[Sample], prefix: str = "") -> dict[str, Any]:
    """Tasks that ran one at a time."""
    return {
        f"{prefix}start_p50_ms": _ms(samples, lambda one: one.start_s, 50),
        f"{prefix}start_p95_ms": _ms(samples, lambda one: one.start_s, 95),
        f"{prefix}queued_p50_ms": _ms(samples, lambda one: one.queued_s, 50),
        f"{prefix}queued_p95_ms": _ms(samples, lambda one: one.queued_s, 95),
        f"{prefix}slot_tail_p50_ms": _ms(samples, lambda one: one.tail_s, 50),
        f"{prefix}slot_tail_p99_ms": _ms(samples, lambda one: one.tail_s, 99),
    }


def of_fans(runs: Sequence[FanRun], prefix: str = "") -> dict[str, Any]:
    """Many tasks at once: the median of the runs."""
    samples = [sample for one in runs for sample in one.samples]
    return {
        f"{prefix}worker_cpu_ms": median((one.cpu_ms("worker") for one in runs), 1),
        f"{prefix}worker_faults": median((one.faults() for one in runs), 0),
        f"{prefix}api_server_cpu_ms": median((one.cpu_ms("api_server") for one in runs), 1),
        f"{prefix}scheduler_cpu_ms": median((one.cpu_ms("scheduler") for one in runs), 1),
        f"{prefix}worker_idle_cpu_percent": median(
            (100 * one.idle_per_s["worker"] for one in runs), 1
        ),
        f"{prefix}tasks_per_s": median((one.per_s() for one in runs), 1),
        f"{prefix}busy_slot_tail_p50_ms": _ms(samples, lambda one: one.tail_s, 50),
        f"{prefix}busy_slot_tail_p99_ms": _ms(samples, lambda one: one.tail_s, 99),
    }


def latency(seconds: Sequence[float], name: str) -> dict[str, Any]:
    """The median and the largest of some waits, in milliseconds."""
    return {
        f"{name}_p50_ms": round(1000 * percentile(seconds, 50), 1),
        f"{name}_max_ms": round(1000 * max(seconds), 1),
    }


def _ms(samples: Iterable[Sample], of: Callable[[Sample], float], percent: float) -> float:
    return round(1000 * percentile([of(sample) for sample in samples], percent), 1)
