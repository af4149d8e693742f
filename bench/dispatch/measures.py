# SPDX-License-Identifier: Apache-2.0
"""Percentiles of histograms, and what machine this is. Pure, but for reading /proc."""

from __future__ import annotations

import os
import platform
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

# Sorted [microseconds, count] pairs, as histogram.h writes them.
Histogram = Sequence[Sequence[int]]


def merged(histograms: Iterable[Histogram]) -> Histogram:
    """The sum of histograms."""
    total: Counter[int] = Counter()
    for histogram in histograms:
        for microseconds, count in histogram:
            total[microseconds] += count
    return sorted(total.items())


def percentile_ms(histogram: Histogram, percent: float) -> float | None:
    """The smallest value that so many percent of the samples do not exceed; None without any."""
    left = sum(count for _, count in histogram) * percent / 100
    for microseconds, count in histogram:
        left -= count
        if left <= 0:
            return round(microseconds / 1000, 2)
    return None


def percentile(samples: Sequence[float], percent: float) -> float:
    """The same of plain samples."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def median(values: Iterable[float], digits: int = 0) -> float:
    """The median, rounded; an integer without digits."""
    middle = statistics.median(values)
    return round(middle, digits) if digits else round(middle)


def machine(zookeeper_answer: str) -> dict[str, Any]:
    """What the figures were measured on. Takes ZooKeeper's answer to srvr."""
    version = next(
        (line for line in zookeeper_answer.splitlines() if line.startswith("Zookeeper version")), ""
    )
    return {
        "cpu": _field("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(int((_field("/proc/meminfo", "MemTotal") or "0").split()[0]) / 2**20),
        "kernel": platform.release(),
        "virtual": "hypervisor" in (_field("/proc/cpuinfo", "flags") or ""),
        "zookeeper": version.partition(":")[2].partition(",")[0].partition("-")[0].strip(),
        "fsync": True,
        "load_at_start": round(os.getloadavg()[0], 1),
    }


def _field(path: str, name: str) -> str | None:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None
