# SPDX-License-Identifier: Apache-2.0
"""The figures as a table, as one JSON object, and in the documentation.

Threads: main thread only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dispatch import report as pages
from tasks.configurations import BEST, CONFIGURATIONS

BEGIN = "<!-- results: written by bench_tasks.py --write-docs -->"
END = pages.END
HEADING = ("what", "ours", "warm = off", "Airflow's supervisor", "Celery", "wanted of ours")
SLEEPING_HEADING = ("500 waiting tasks in one worker", "measured", "wanted")

# Key, what it is, and what the design asks for.
LINES: Sequence[tuple[str, str, str]] = (
    ("worker_cpu_ms", "worker CPU a task, ms", "<= 34, Celery's / 3"),
    ("pandas_worker_cpu_ms", "the same, file imports pandas", "Celery's / 6"),
    ("worker_faults", "worker's page faults a task", ""),
    ("pandas_worker_faults", "the same, file imports pandas", ""),
    ("api_server_cpu_ms", "API server's CPU a task, ms", ""),
    ("scheduler_cpu_ms", "scheduler's CPU a task, ms", ""),
    ("tasks_per_s", "mapped tasks a second", ""),
    ("pandas_tasks_per_s", "the same, file imports pandas", ""),
    ("start_p50_ms", "claimed to user code, p50, ms", "<= 45"),
    ("start_p95_ms", "claimed to user code, p95, ms", ""),
    ("pandas_start_p50_ms", "the same, file imports pandas, p50, ms", "<= 52"),
    ("pandas_start_p95_ms", "the same, file imports pandas, p95, ms", ""),
    ("queued_p50_ms", "queued to user code, p50, ms", ""),
    ("queued_p95_ms", "queued to user code, p95, ms", ""),
    ("pandas_queued_p50_ms", "the same, file imports pandas, p50, ms", ""),
    ("pandas_queued_p95_ms", "the same, file imports pandas, p95, ms", ""),
    ("slot_tail_p50_ms", "end of user code to free slot, p50, ms", ""),
    ("slot_tail_p99_ms", "end of user code to free slot, p99, ms", "<= 50"),
    ("busy_slot_tail_p50_ms", "the same with all slots taken, p50, ms", ""),
    ("busy_slot_tail_p99_ms", "the same with all slots taken, p99, ms", "< 5,000"),
    ("idle_16_slots_pss_mb", "used worker of 16 slots, idle, MB", "<= 160"),
    ("idle_64_slots_pss_mb", "used worker of 64 slots, idle, MB", "<= 160"),
    ("running_16_pss_mb", "with 16 running tasks, MB", ""),
    ("running_64_pss_mb", "with 64 running tasks, MB", ""),
    ("pss_per_running_16_mb", "each of 16 running tasks, MB", "<= 25"),
    ("pss_per_running_64_mb", "each of 64 running tasks, MB", "<= 25"),
    ("worker_idle_cpu_percent", "idle worker, % of a core", ""),
)
SLEEPING: Sequence[tuple[str, str, str]] = (
    ("claim_p50_ms", "placed to claimed, p50, ms", ""),
    ("claim_max_ms", "placed to claimed, longest, ms", "<= 100"),
    ("log_p50_ms", "log of a running task, p50, ms", ""),
    ("log_max_ms", "log of a running task, longest, ms", "<= 100"),
    ("metrics_p50_ms", "/metrics, p50, ms", ""),
    ("metrics_max_ms", "/metrics, longest, ms", "<= 100"),
    ("pss_mb", "memory, MB", "< 13,000"),
    ("worker_cpu_percent", "the worker's CPU, % of a core", ""),
)
# What the last line promises, besides all else.
TOP = ("worker_cpu_ms", "start_p50_ms", "pandas_start_p50_ms", "slot_tail_p99_ms", "tasks_per_s")


def complete(figures: Mapping[str, Any]) -> dict[str, Any]:
    """All figures, the promised ones on top; None for what was not measured."""
    ours = figures["configurations"].get(BEST.name, {})
    celery = figures["configurations"].get("celery", {})
    top = {key: ours.get(key) for key in TOP}
    top["celery_worker_cpu_ms"] = celery.get("worker_cpu_ms")
    top["celery_tasks_per_s"] = celery.get("tasks_per_s")
    top["worker_cpu_ratio"] = _ratio(top["celery_worker_cpu_ms"], top["worker_cpu_ms"])
    top["tasks_per_s_ratio"] = _ratio(top["tasks_per_s"], top["celery_tasks_per_s"])
    idle = [ours[key] for key in ours if key.startswith("idle_") and key.endswith("_pss_mb")]
    top["idle_pss_mb"] = max(idle, default=None)
    running = [ours[key] for key in ours if key.startswith("pss_per_running_")]
    top["pss_per_running_mb"] = max(running, default=None)
    sleeping = figures.get("sleeping", {})
    top["sleeping_responds_max_ms"] = sleeping.get("responds_max_ms")
    top["sleeping_pss_mb"] = sleeping.get("pss_mb")
    return {**top, **figures}


def rows(figures: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """What was measured, one row a figure, one column a configuration."""
    columns = [figures["configurations"].get(name, {}) for name in CONFIGURATIONS]
    found = []
    for key, about, wanted in LINES:
        cells = [_text(column.get(key)) for column in columns]
        if any(cells):
            found.append((about, *cells, wanted))
    return found


def sleeping_rows(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What was measured with many waiting tasks."""
    sleeping = figures.get("sleeping", {})
    return [
        (about, _text(sleeping[key]), wanted) for key, about, wanted in SLEEPING if key in sleeping
    ]


def write_docs(path: Path, figures: Mapping[str, Any]) -> None:
    """Replace what is between the two markers. Raises ValueError without them."""
    pages.replace_section(path, BEGIN, END, markdown(figures))


def markdown(figures: Mapping[str, Any]) -> str:
    """The results with the machine they come from."""
    lines = [pages.measured_on(figures["machine"]), ""]
    lines += pages.markdown_table(HEADING, rows(figures))
    if sleeping := sleeping_rows(figures):
        lines += ["", *pages.markdown_table(SLEEPING_HEADING, sleeping)]
    if figures.get("quick"):
        lines[:0] = [pages.QUICK, ""]
    return "\n".join([*lines, ""])


def _ratio(above: float | None, below: float | None) -> float | None:
    return round(above / below, 1) if above and below else None


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value >= 100:
        value = round(value)
    return f"{value:,}"
