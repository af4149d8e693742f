# SPDX-License-Identifier: Apache-2.0
"""Limits on waiting, and on how many requests are under way. No I/O."""

from __future__ import annotations

import threading

from zk_executor.zk import waits


def test_the_earlier_end_of_two_limits_counts() -> None:
    assert waits.left(5) == 5
    with waits.within(1000):
        with waits.within(100):
            assert 99 < waits.left(5000) <= 100
        with waits.within(5000):
            assert 900 < waits.left(9000) <= 1000
        with waits.within(None):
            assert 900 < waits.left(9000) <= 1000
        assert waits.left(3) == 3
    assert waits.left(5) == 5


def test_what_is_left_is_never_negative() -> None:
    with waits.within(-1):
        assert waits.left(5) == 0


def test_a_limit_is_of_the_thread_that_set_it() -> None:
    found: list[float] = []
    with waits.within(1):
        thread = threading.Thread(target=lambda: found.append(waits.left(50)))
        thread.start()
        thread.join()
    assert found == [50]


def test_a_pipeline_asks_in_order_and_never_too_far_ahead() -> None:
    asked: list[int] = []

    def ask(item: int) -> int:
        asked.append(item)
        return -item

    taken = 0
    for item, result in waits.pipelined(ask, range(350)):
        assert (item, result) == (taken, -taken)
        taken += 1
        assert len(asked) - taken <= waits.AT_ONCE
    assert asked == list(range(350))
    assert taken == 350


def test_a_pipeline_that_is_left_asks_for_no_more() -> None:
    asked: list[int] = []
    for _ in waits.pipelined(lambda item: asked.append(item), range(1000)):
        break
    assert len(asked) == waits.AT_ONCE
