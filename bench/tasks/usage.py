# SPDX-License-Identifier: Apache-2.0
"""CPU time and memory of a process with all that it started, from /proc.

Threads: any. A process that ends while it is looked at counts as nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from devstack.processes import descendants

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Memory:
    """Proportional set sizes: pages that processes share are split among them."""

    pss_mb: float
    processes: int


def family(pid: int) -> list[int]:
    """A process and everything below it."""
    return [pid, *descendants(pid)]


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time of these processes and of the children that they have waited for."""
    return sum(cpu_ticks(_read(pid, "stat")) for pid in pids) / TICKS


def page_faults(pids: Iterable[int]) -> int:
    """Pages that these processes, and the children that they have waited for, had to be given."""
    return sum(minor_faults(_read(pid, "stat")) for pid in pids)


def minor_faults(stat: str) -> int:
    """Those of a line of /proc/PID/stat that needed no disk, reaped children's included."""
    fields = stat.rpartition(")")[2].split()
    return sum(map(int, fields[7:9])) if len(fields) > 8 else 0


def cpu_ticks(stat: str) -> int:
    """User and system time of a line of /proc/PID/stat, that of reaped children included."""
    # The name in parentheses may hold anything; utime is the twelfth field after it.
    fields = stat.rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) if len(fields) > 14 else 0


def memory(pids: Iterable[int]) -> Memory:
    """What these processes use together."""
    sizes = [pss_kb(_read(pid, "smaps_rollup")) for pid in pids]
    return Memory(round(sum(sizes) / 1024, 1), sum(1 for size in sizes if size))


def pss_kb(rollup: str) -> int:
    """The proportional set size of a /proc/PID/smaps_rollup."""
    for line in rollup.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:
        return ""
