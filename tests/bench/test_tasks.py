# SPDX-License-Identifier: Apache-2.0
"""The benchmark of tasks: its pure parts, and that a short run works. How fast does not matter."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "tools")]

from tasks import figures, report, usage  # noqa: E402
from tasks.figures import FanRun, Sample  # noqa: E402
from tasks.logs import Hold, UserCode, celery_holds, our_holds, user_code  # noqa: E402

TASK = "0192a1b2-0000-7000-8000-00000000abcd"


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "bench" / "bench_tasks.py", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def sample(start: float, tail: float, queued: float = 100.0) -> Sample:
    """Queued, claimed 10 ms later, and so on; its code takes 1 ms."""
    claimed = queued + 0.010
    began = claimed + start
    ended = began + 0.001
    return Sample(queued, Hold(claimed, ended + tail), UserCode(began, ended), ended)


def test_times_of_our_worker_are_read_from_its_log():
    holds = our_holds(
        [
            f'2026-01-01T00:00:01.250Z info start dispatch={TASK} label="a" queue=q kind=task',
            "2026-01-01T00:00:01.300Z info warm process ready pid=7 ms=20 imports=[]",
            f'2026-01-01T00:00:02.500Z info end dispatch={TASK} label="a" outcome=success',
            "Traceback: not one of its lines",
        ]
    )
    assert list(holds) == [TASK]
    assert holds[TASK].freed - holds[TASK].claimed == 1.25
    assert holds[TASK].claimed == 1767225601.25


@pytest.mark.parametrize(
    ("received", "succeeded"),
    [
        ("2026-01-01T00:00:01.250000Z [info     ]", "2026-01-01T00:00:02.500000Z [info     ]"),
        ("[2026-01-01 00:00:01,250: INFO/MainProcess]", "[2026-01-01 00:00:02,500: INFO/Fork-1]"),
        ("\x1b[2m2026-01-01T00:00:01.250000Z\x1b[0m [info]", "2026-01-01T00:00:02.500000Z [info]"),
    ],
)
def test_times_of_a_celery_worker_are_read_from_its_log(received, succeeded):
    name = "execute_workload"
    holds = celery_holds(
        [
            f"{received} Task {name}[{TASK}] received",
            f"{succeeded} Task {name}[{TASK}] succeeded in 1.2s: None",
            f"{succeeded} [{TASK}] Executing workload in Celery",
        ]
    )
    assert holds[TASK].freed - holds[TASK].claimed == 1.25


def test_times_of_user_code_are_read_from_its_lines():
    found = user_code(["fan\tmanual__1\ttick\t7\t1500000000\t1600000000\n"])
    assert found == {("fan", "manual__1", "tick", 7): UserCode(1.5, 1.6)}


def test_a_task_is_complete_when_its_slot_is_free_and_its_code_has_run():
    assert sample(0.03, 0.02).complete()
    assert not Sample(1.0, Hold(1.0, None), UserCode(2.0, 3.0), 3.0).complete()
    assert not Sample(1.0, None, UserCode(2.0, 3.0), 3.0).complete()
    assert not Sample(1.0, Hold(1.0, 4.0), None, 3.0).complete()


def test_chains_give_percentiles_in_milliseconds():
    found = figures.of_chain([sample(0.030, 0.005)] * 19 + [sample(0.500, 5.0)], "pandas_")
    assert found["pandas_start_p50_ms"] == 30.0
    assert found["pandas_start_p95_ms"] == 500.0
    assert found["pandas_queued_p50_ms"] == 40.0
    assert found["pandas_slot_tail_p50_ms"] == 5.0
    assert found["pandas_slot_tail_p99_ms"] == 5000.0


def test_cpu_of_a_fan_is_for_each_task_and_without_that_of_an_idle_worker():
    families = ("worker", "api_server", "scheduler")
    fan = FanRun(
        [sample(0.03, 0.01, queued=100.0 + number) for number in range(10)],
        cpu=dict.fromkeys(families, 2.0),
        idle_per_s=dict.fromkeys(families, 0.1),
        seconds=10.0,
    )
    found = figures.of_fans([fan, fan, fan])
    assert found["worker_cpu_ms"] == 100.0
    assert found["worker_idle_cpu_percent"] == 10.0
    assert found["tasks_per_s"] == round(10 / 9.041, 1)


def test_cpu_and_memory_are_read_as_the_kernel_writes_them():
    fields = " ".join(map(str, range(3, 53)))
    # utime, stime, cutime and cstime are the fields 14 to 17.
    assert usage.cpu_ticks(f"1 (a (b) c) {fields}") == 14 + 15 + 16 + 17
    assert usage.cpu_ticks("") == 0
    # minflt and cminflt are the fields 10 and 11.
    assert usage.minor_faults(f"1 (a (b) c) {fields}") == 10 + 11
    assert usage.minor_faults("") == 0
    assert usage.pss_kb("Rss:  10 kB\nPss:   7 kB\nPss_Anon: 3 kB\n") == 7
    assert usage.pss_kb("") == 0


RESULTS = {
    "machine": {"cores": 2, "cpu": "X", "memory_gb": 4, "kernel": "6", "virtual": False}
    | {"zookeeper": "3.8.0", "load_at_start": 0.1},
    "configurations": {
        "warm": {
            "worker_cpu_ms": 20.0,
            "start_p50_ms": 30.0,
            "tasks_per_s": 12.0,
            "idle_16_slots_pss_mb": 140.0,
            "idle_64_slots_pss_mb": 150.0,
            "pss_per_running_16_mb": 15.0,
            "pss_per_running_64_mb": 14.0,
        },
        "celery": {"worker_cpu_ms": 150.0, "tasks_per_s": 5.0},
    },
}


def test_last_line_has_what_is_promised_and_null_for_what_was_not_measured():
    line = report.complete(RESULTS)
    assert line["worker_cpu_ms"] == 20.0
    assert line["celery_worker_cpu_ms"] == 150.0
    assert line["worker_cpu_ratio"] == 7.5
    assert line["celery_tasks_per_s"] == 5.0
    assert line["idle_pss_mb"] == 150.0
    assert line["pss_per_running_mb"] == 15.0
    assert line["pandas_start_p50_ms"] is None
    assert line["slot_tail_p99_ms"] is None
    assert report.complete({"configurations": {}})["celery_tasks_per_s"] is None


def test_table_has_a_column_for_each_configuration_and_no_row_without_figures():
    rows = report.rows(RESULTS)
    assert ("worker CPU a task, ms", "20.0", "", "", "150", "<= 34, Celery's / 3") in rows
    assert all(any(row[1:5]) for row in rows)
    assert not [row for row in rows if row[0].startswith("scheduler")]


def test_documentation_gets_the_tables_between_its_own_markers(tmp_path):
    page = tmp_path / "benchmarks.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    sleeping = {"claim_p50_ms": 3.0, "claim_max_ms": 9.0}
    report.write_docs(page, RESULTS | {"sleeping": sleeping})
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n")
    assert "old" not in text
    assert "2 cores of X" in text
    assert "| placed to claimed, longest, ms | 9.0 | <= 100 |" in text


def test_page_in_the_repository_has_the_markers():
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    assert report.END in text[text.index(report.BEGIN) :]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--only", "strat"), "no part strat; there are start,"),
        (("--configurations", "ours"), "no configuration ours; there are warm,"),
        (("--repeats", "0"), "--repeats must be at least 1"),
    ],
)
def test_wrong_usage_is_refused_with_what_there_is(arguments, says):
    done = bench(*arguments)
    assert done.returncode == 2
    assert says in done.stderr


def test_short_run_with_warm_imports_measures_starts_cpu_and_tails():
    done = bench(
        *("--quick", "--without-pandas", "--only", "start,fan", "--configurations", "warm")
    )
    assert done.returncode == 0, done.stderr
    assert "left behind" not in done.stderr
    line = json.loads(done.stdout.splitlines()[-1])
    for key in ("worker_cpu_ms", "start_p50_ms", "slot_tail_p99_ms", "tasks_per_s"):
        assert line[key] > 0, key
    assert line["celery_worker_cpu_ms"] is None
    assert line["failed"] == []
