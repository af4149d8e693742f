# SPDX-License-Identifier: Apache-2.0
"""The benchmarks work and say what they promise. How fast anything is does not matter here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "tools")]

from dispatch import report  # noqa: E402
from dispatch.measures import merged, percentile, percentile_ms  # noqa: E402

# Without Celery, which CI does not install, and without those that wait for session timeouts.
SCENARIOS = "throughput,paced,trickle,heartbeat,backlog,moved-share"


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "bench" / "bench_dispatch.py", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    """The last line of a short run."""
    done = bench("--quick", "--repeats", "1", "--only", SCENARIOS)
    assert done.returncode == 0, done.stderr
    assert "left behind" not in done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_quick_run_measures_every_figure_of_its_scenarios(figures):
    for key in (
        *("noop_per_s", "noop_per_s_1", "txns_per_dispatch", "txns_per_dispatch_trickle"),
        *("claim_p50_ms", "claim_p99_ms", "event_p99_ms"),
        *("heartbeat_p99_ms_0", "heartbeat_p99_ms_1k", "moved_share_9th_worker"),
    ):
        assert figures[key] > 0, key
    assert figures["failed_scenarios"] == []


def test_last_line_names_figures_that_were_not_measured(figures):
    assert figures["celery_noop_per_s"] is None
    assert figures["host_gone_s"] is None


def test_last_line_names_the_machine(figures):
    machine = figures["machine"]
    assert machine["cores"] > 0
    assert machine["zookeeper"].startswith("3.")


def test_every_dispatch_ends_as_success_when_it_was_queued_before_any_worker_came(figures):
    backlog = figures["backlog_100k"]
    assert (backlog["unfinished"], backlog["queued"]) == (0, 2_001)
    assert backlog["outcomes"] == {"success": 2_001}
    assert backlog["largest_listing_bytes"] > 0


def test_every_dispatch_ends_when_as_many_as_go_are_placed(figures):
    assert [one["unfinished"] for one in figures["throughput"].values()] == [0, 0]


def test_unknown_scenario_is_refused_with_the_names_of_those_there_are():
    done = bench("--only", "thruput")
    assert done.returncode == 2
    assert "no scenario thruput; there are throughput," in done.stderr


def test_percentiles_of_several_histograms_are_those_of_all_samples():
    together = merged([[[1000, 98]], [[1000, 1], [5000, 1]], []])
    assert together == [(1000, 99), (5000, 1)]
    assert percentile_ms(together, 50) == 1.0
    assert percentile_ms(together, 99) == 1.0
    assert percentile_ms(together, 99.9) == 5.0
    assert percentile_ms([], 50) is None
    assert percentile([3, 1, 2], 50) == 2


def test_documentation_gets_the_table_between_its_markers(tmp_path, figures):
    page = tmp_path / "benchmarks.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.write_docs(page, figures)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n")
    assert "old" not in text
    assert f"| {figures['noop_per_s']:,} |" in text


def test_documentation_without_markers_is_left_alone(tmp_path, figures):
    page = tmp_path / "benchmarks.md"
    page.write_text("no markers")
    with pytest.raises(ValueError, match="markers"):
        report.write_docs(page, figures)
    assert page.read_text() == "no markers"


def test_page_in_the_repository_has_the_markers():
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    assert text.index(report.BEGIN) < text.index(report.END)
