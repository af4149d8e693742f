# SPDX-License-Identifier: Apache-2.0
"""What a test run says at its end is what came of its suites."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import run_suites  # noqa: E402
from suite_report import count, report  # noqa: E402
from suites import EXTRA, SUITES, Lane, Suite  # noqa: E402

JUNIT = """\
<testsuites><testsuite>
  <testcase classname="tests.integration.test_a" name="test_quick" time="0.5"/>
  <testcase classname="tests.integration.test_a" name="test_slow" time="61.25"/>
  <testcase classname="ASuite.IsThere/0  # GetParam() = 8 bytes" time="2" status="run"
            name="ASuite.IsThere/0  # GetParam() = 8 bytes"/>
  <testcase classname="tests.b" name="test_left_out" time="0"><skipped/></testcase>
  <testcase classname="tests.b" name="test_wrong" time="1">
    <failure message="assert 1 == 2">trace</failure>
  </testcase>
</testsuite></testsuites>
"""


def suite(tmp_path: Path, name: str, script: str, lane: Lane = Lane.WAITS) -> Suite:
    return Suite(name, "", lane, lambda junit: [["bash", "-c", script, "bash", str(junit)]])


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(run_suites, "RESULTS", tmp_path)
    return tmp_path


def test_count_tells_passed_failed_and_skipped_and_the_reason_of_a_failure(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(JUNIT)
    result = count("a", tmp_path / "a.xml")
    assert (result.passed, result.failed, result.skipped) == (3, 1, 1)
    assert result.failures == [("test_wrong", "    assert 1 == 2")]


def test_report_names_the_slowest_tests_first_and_ends_with_the_totals(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(JUNIT)
    lines = report([count("a", tmp_path / "a.xml")], 70, tmp_path).splitlines()
    after = lines.index("the slowest tests")
    assert "61.2" in lines[after + 3] and "test_a: test_slow" in lines[after + 3]
    assert lines[after + 4].endswith("  ASuite.IsThere/0")
    assert lines[-1] == "3 passed, 1 failed, 1 skipped"


@pytest.mark.parametrize("text", [None, "", "<testsuites>"])
def test_suite_without_a_readable_file_is_one_failure(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "a.xml").write_text(text)
    assert count("a", tmp_path / "a.xml").failed == 1


def test_command_that_fails_is_a_failure_though_its_tests_passed(results: Path) -> None:
    ran = suite(results, "a", """echo '<t><testcase name="x"/></t>' > "$1"; exit 3""")
    result = run_suites.run(ran, 0)
    assert (result.passed, result.failed) == (1, 1)
    assert "code 3" in result.broken


def test_lanes_run_side_by_side_and_suites_of_one_lane_in_turn(results: Path) -> None:
    # Each lane's first suite ends only when the other lane has begun.
    meet = 'touch {0}/$0; until test -e {0}/{1}; do sleep 0.01; done; echo "<t/>" > "$1"'
    chosen = [
        Suite(
            name,
            "",
            lane,
            lambda junit, name=name, other=other: [
                ["bash", "-c", meet.format(results, other), name, str(junit)]
            ],
        )
        for name, other, lane in (
            ("waits", "computes", Lane.WAITS),
            ("computes", "waits", Lane.COMPUTES),
        )
    ]
    after = suite(results, "after", f"test -e {results}/computes && echo '<t/>' > \"$1\"")
    ran = run_suites.run_lanes([*chosen, after], one_lane=False)
    assert [(result.suite, result.failed) for result in ran] == [
        ("waits", 0),
        ("computes", 0),
        ("after", 0),
    ]


def interruptible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_suites, "_interrupted", threading.Event())
    ending = [(0.0, number) for _, number in run_suites.ENDING]
    monkeypatch.setattr(run_suites, "ENDING", ending)


def test_interrupt_ends_what_runs_and_nothing_begins_after_it(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interruptible(monkeypatch)
    long = suite(results, "long", f"touch {results}/begun; exec sleep 600")
    after = suite(results, "after", f"touch {results}/after")

    def interrupt_when_begun() -> None:
        while not (results / "begun").exists():
            os.sched_yield()
        run_suites._interrupt()

    thread = threading.Thread(target=interrupt_when_begun)
    thread.start()
    ran = run_suites.run_lanes([long, after], one_lane=False)
    thread.join()
    assert [(result.suite, result.failed) for result in ran] == [("long", 1)]
    assert not (results / "after").exists()


def test_command_that_begins_while_it_is_interrupted_ends_too(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interruptible(monkeypatch)
    run_suites._interrupt()
    assert run_suites.run(suite(results, "late", "exec sleep 600"), 0).failed == 1


def test_every_suite_has_a_name_of_its_own() -> None:
    names = [suite.name for suite in (*SUITES, *EXTRA)]
    assert len(set(names)) == len(names)
