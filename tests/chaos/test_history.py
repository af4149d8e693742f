# SPDX-License-Identifier: Apache-2.0
"""The checker of chaos runs accepts what is allowed and finds what is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from history import Event, Fault, History, Step, judge


def good(kind: str = "task") -> History:
    """A dispatch "d" that was placed at 1, started at 2, ended at 3 and was told at 4."""
    return History(
        placed={"d": (1.0, kind)},
        events=[Event(4.0, "d", "success", "w")],
        steps=[Step(2.0, "start", "d", "1"), Step(3.0, "end", "d", "1")],
    )


def lost(fault: str) -> History:
    """A dispatch that ended as lost after a fault."""
    return History(
        placed={"d": (1.0, "task")},
        events=[Event(9.0, "d", "lost", "w")],
        steps=[Step(2.0, "start", "d", "1")],
        faults=[Fault(fault, 2.5, 3.0)],
    )


def test_a_dispatch_that_ran_once_and_was_told_once_is_fine() -> None:
    assert judge(good()).violations == []


@pytest.mark.parametrize("fault", ["worker_kill", "worker_partition", "ensemble_restart"])
def test_a_loss_that_a_fault_explains_is_fine(fault: str) -> None:
    assert judge(lost(fault)).violations == []


@pytest.mark.parametrize("fault", ["scheduler_kill", "zygote_kill"])
def test_a_loss_that_no_fault_explains_is_a_violation(fault: str) -> None:
    assert judge(lost(fault)).violations


def test_a_loss_long_after_the_only_fault_is_a_violation() -> None:
    history = lost("worker_kill")
    history.placed["d"] = (100.0, "task")
    history.events = [Event(101.0, "d", "lost")]
    assert judge(history).violations


def test_a_loss_before_the_only_fault_is_a_violation() -> None:
    history = lost("worker_kill")
    history.faults = [Fault("worker_kill", 20.0, 21.0)]
    assert judge(history).violations


def test_a_dispatch_without_a_final_event_is_a_violation() -> None:
    history = good()
    history.events = []
    assert judge(history).violations == ["d (task): has no final event"]


def test_a_dispatch_that_was_only_handed_back_has_no_final_event() -> None:
    history = good()
    history.events = [Event(4.0, "d", "token", "w")]
    assert judge(history).violations == ["d (task): has no final event"]


def test_two_starts_are_a_violation_also_when_one_event_was_told() -> None:
    history = good("callback")
    history.steps.append(Step(2.5, "start", "d", "2"))
    assert "started 2 times" in judge(history).violations[0]


def test_a_start_that_the_gate_refused_is_counted_and_fine() -> None:
    history = good()
    history.steps.append(Step(2.5, "refused", "d", "2"))
    verdict = judge(history)
    assert verdict.violations == []
    assert verdict.counts["refused_at_gate"] == 1


def test_two_different_ends_are_a_violation() -> None:
    history = good()
    history.faults = [Fault("worker_kill", 0.0, 1.0)]
    history.events.append(Event(5.0, "d", "lost"))
    assert judge(history).violations == ["d (task): ended as lost and as success"]


def test_the_same_end_told_twice_is_a_repetition() -> None:
    history = good()
    history.events.append(Event(5.0, "d", "success"))
    verdict = judge(history)
    assert verdict.violations == []
    assert verdict.counts["repeated"] == 1


def test_a_start_after_the_end_was_told_is_a_violation() -> None:
    history = lost("worker_kill")
    history.steps = [Step(10.0, "start", "d", "1")]
    assert "after it was told as lost" in judge(history).violations[0]


def test_a_success_of_what_never_ran_to_its_end_is_a_violation() -> None:
    history = good()
    history.steps = [Step(2.0, "start", "d", "1")]
    assert judge(history).violations


def test_a_step_or_an_event_of_what_nobody_placed_is_a_violation() -> None:
    history = good()
    history.steps.append(Step(2.0, "start", "ghost", "1"))
    assert judge(history).violations == ["ghost: was never placed"]


def gone(end: float) -> History:
    """A dispatch that ran to its end, and then was gone; its scheduler died at 5."""
    return History(
        placed={"d": (1.0, "task")},
        events=[Event(9.0, "d", "gone")],
        steps=[Step(2.0, "start", "d", "1"), Step(end, "end", "d", "1")],
        faults=[Fault("scheduler_kill", 5.0, 6.0)],
    )


def test_a_dispatch_that_ended_after_its_scheduler_died_is_not_gone() -> None:
    assert "had run to its end" in judge(gone(end=5.5)).violations[0]


def test_a_result_that_was_taken_when_its_scheduler_died_is_gone() -> None:
    assert judge(gone(end=4.9)).violations == []


def test_a_rejected_dispatch_is_a_violation_whatever_the_fault() -> None:
    history = lost("worker_kill")
    history.events = [Event(9.0, "d", "rejected")]
    assert judge(history).violations


def test_a_history_is_read_from_the_files_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "s0.placed").write_text("1.0 d task\n")
    (tmp_path / "s0.events").write_text("4.0 d success -\n")
    (tmp_path / "w0.ledger").write_text("2.0 start d 17\n3.0 end d 17\n")
    history = History.read(tmp_path, [])
    assert history.placed == {"d": (1.0, "task")}
    assert history.events == [Event(4.0, "d", "success", "-")]
    assert [step.what for step in history.steps] == ["start", "end"]
    assert judge(history).violations == []
