# SPDX-License-Identifier: Apache-2.0
"""The figures as a table, as one JSON object, and in the documentation.

Threads: main thread only.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HEADING = ("what", "measured", "wanted")
BEGIN = "<!-- results: written by bench_dispatch.py --write-docs -->"
END = "<!-- end of results -->"
QUICK = "These are the figures of a quick run: they say that it works, not how fast."

# Key, what it is, unit, and what the design asks for.
LINES: Sequence[tuple[str, str, str, str]] = (
    ("noop_per_s", "no-op dispatches a second, 4 workers", "", "10,000"),
    ("noop_per_s_1", "the same, 1 worker", "", ""),
    ("noop_per_s_16", "the same, 16 workers", "", ""),
    ("celery_noop_per_s", "no-op tasks a second, Celery with Redis", "", ""),
    ("celery_ratio", "ours to Celery's, in turns", "x", ""),
    ("txns_per_dispatch", "ZooKeeper transactions a dispatch, saturated", "", ""),
    ("txns_per_dispatch_500_s", "the same at 500/s", "", ""),
    ("txns_per_dispatch_trickle", "the same at 5/s", "", ""),
    ("claim_p50_ms", "placed to claimed at 500/s, p50", "ms", "<= 10"),
    ("claim_p99_ms", "placed to claimed at 500/s, p99", "ms", "<= 50"),
    ("event_p50_ms", "placed to event at 500/s, p50", "ms", ""),
    ("event_p99_ms", "placed to event at 500/s, p99", "ms", ""),
    ("claim_p50_ms_trickle", "placed to claimed at 5/s, p50", "ms", ""),
    ("heartbeat_p99_ms_0", "heartbeat(), nothing out, p99", "ms", "< 1"),
    ("heartbeat_p99_ms_1k", "heartbeat(), 1,000 out, p99", "ms", "< 1"),
    ("heartbeat_p99_ms_10k", "heartbeat(), 10,000 out, p99", "ms", "< 1"),
    ("backlog_100k.place_s", "100,000 queued: to place", "s", "linear"),
    ("backlog_100k.place_s_each_10k", "each 10,000", "s", "flat"),
    ("backlog_100k.list_s", "to list", "s", ""),
    ("backlog_100k.largest_listing_bytes", "largest listing", "bytes", "< 1,048,575"),
    ("backlog_100k.drain_s", "to drain", "s", "linear"),
    ("backlog_100k.drain_s_each_10k", "each 10,000", "s", "flat"),
    ("backlog_100k.unfinished", "not drained within five minutes", "", "0"),
    ("thousand_workers.register_s", "1,000 workers: to register", "s", ""),
    ("thousand_workers.noop_per_s", "no-op dispatches a second", "", ""),
    ("thousand_workers.claim_p99_ms_at_200_s", "placed to claimed at 200/s, p99", "ms", ""),
    ("thousand_workers.gave_up", "gave up", "", ""),
    ("moved_share_9th_worker", "partitions moved by a ninth worker, of 64", "", "0.111"),
    ("worker_kill_s", "worker process killed, to its tasks' events", "s", "<= 3"),
    ("host_gone_s", "host cut off, to its tasks' events", "s", "<= 20"),
    ("zookeeper_restart_s", "ZooKeeper killed and restarted, without results for", "s", ""),
)


def value_of(figures: Mapping[str, Any], key: str) -> Any:
    """A figure by its key; dots lead into objects. None if it was not measured."""
    value: Any = figures
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def rows(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What was measured, one row a figure."""
    found = []
    for key, about, unit, wanted in LINES:
        value = value_of(figures, key)
        if value is not None:
            found.append((about, f"{_text(value)} {unit}".rstrip(), wanted))
    return found


def complete(figures: Mapping[str, Any]) -> dict[str, Any]:
    """All figures; those of the table that were not measured are None."""
    missing = {key: None for key, *_ in LINES if "." not in key}
    return {**missing, **figures}


def write_docs(path: Path, figures: Mapping[str, Any]) -> None:
    """Replace what is between the two markers. Raises ValueError without them."""
    replace_section(path, BEGIN, END, markdown(figures))


def replace_section(path: Path, begin: str, end: str, text: str) -> None:
    """Replace what is between two markers of a page. Raises ValueError without them."""
    before, found_begin, rest = path.read_text().partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        raise ValueError(f"{path} lacks the markers around the results")
    path.write_text(before + begin + "\n\n" + text + "\n" + end + after)


def markdown(figures: Mapping[str, Any]) -> str:
    """The results with the machine they come from."""
    lines = [measured_on(figures["machine"]), "", *markdown_table(HEADING, rows(figures)), ""]
    if figures.get("quick"):
        lines[:0] = [QUICK, ""]
    return "\n".join(lines)


def measured_on(where: Mapping[str, Any]) -> str:
    """When, and on what machine."""
    kind = "a shared virtual machine" if where["virtual"] else "a machine"
    return (
        f"Measured on {datetime.date.today():%Y-%m-%d} on {kind}: {where['cores']} cores of"
        f" {where['cpu']}, {where['memory_gb']} GB, Linux {where['kernel']}, standalone ZooKeeper"
        f" {where['zookeeper']} with fsync; load {where['load_at_start']} before the start."
    )


def markdown_table(heading: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    return [
        "| " + " | ".join(heading) + " |",
        "|" + "---|" * len(heading),
        *(f"| {' | '.join(row)} |" for row in body),
    ]


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_text, value))
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)
