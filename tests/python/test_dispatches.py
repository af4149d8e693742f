# SPDX-License-Identifier: Apache-2.0
"""Dispatches and judge: the bookkeeping, without Airflow."""

from __future__ import annotations

import pytest

from zk_executor.dispatches import (
    CALLBACK,
    MAX_TOKEN_ATTEMPTS,
    TASK,
    Dispatch,
    Dispatches,
    Verdict,
    judge,
)


def test_later_dispatch_of_a_key_replaces_the_earlier():
    dispatches = Dispatches()
    first, second = Dispatch("d1", "k", TASK, "q"), Dispatch("d2", "k", TASK, "q")
    dispatches.put(first)
    dispatches.put(second)
    assert dispatches.current("d1") is None
    assert dispatches.current("d2") is second
    assert dispatches.of_key("k") is second
    assert list(dispatches) == [second]


def test_forgetting_an_earlier_dispatch_keeps_the_later():
    dispatches = Dispatches()
    first, second = Dispatch("d1", "k", TASK, "q"), Dispatch("d2", "k", TASK, "q")
    dispatches.put(first)
    dispatches.put(second)
    dispatches.forget(first)
    assert dispatches.of_key("k") is second
    dispatches.forget(second)
    assert len(dispatches) == 0
    assert dispatches.of_key("k") is None


@pytest.mark.parametrize(
    ("kind", "workload", "attempts", "outcome", "verdict"),
    [
        (TASK, "w", 0, "success", Verdict.SUCCEED),
        (TASK, "w", 0, "failed", Verdict.FAIL),
        (TASK, "w", 0, "already_running", Verdict.FORGET),
        (TASK, "w", 0, "stale", Verdict.FORGET),
        (TASK, "w", 0, "fenced", Verdict.FORGET),
        (CALLBACK, "w", 0, "fenced", Verdict.FORGET),
        (TASK, "w", MAX_TOKEN_ATTEMPTS - 1, "token", Verdict.PLACE_AGAIN),
        (TASK, "w", MAX_TOKEN_ATTEMPTS, "token", Verdict.FAIL),
        (TASK, None, 0, "token", Verdict.FORGET),
        (CALLBACK, None, 0, "token", Verdict.FAIL),
        (CALLBACK, "w", 0, "token", Verdict.PLACE_AGAIN),
        (CALLBACK, "w", 0, "stale", Verdict.FAIL),
        (TASK, "w", 0, "something new", Verdict.FAIL),
    ],
)
def test_verdict_follows_kind_and_outcome(kind, workload, attempts, outcome, verdict):
    assert judge(Dispatch("d", "k", kind, "q", workload, attempts), outcome) is verdict
