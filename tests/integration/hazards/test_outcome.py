# SPDX-License-Identifier: Apache-2.0
"""What is compared of hazards: the kinds of what tasks saw."""

from __future__ import annotations

import json

import pytest
from outcome import DIFFERENT, NEW, OLD, differing, kind, kinds, read


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([(OLD, 1), (NEW, 1)], 1),
        ([(OLD, 1), (OLD, 2), (NEW, 3)], DIFFERENT),
        ([(OLD, 1), (OLD, 1), (NEW, 2), (NEW, 2)], {OLD: 1, NEW: 2}),
        ([(OLD, 1), (OLD, 2), (NEW, 2)], {"mixed": [1, 2, 2]}),
        ([(OLD, {"a": 1, "b": 2}), (NEW, {"b": 2, "a": 1})], {"a": 1, "b": 2}),
    ],
)
def test_kind_is_equal_different_or_changed(values, expected) -> None:
    assert kind(values) == expected


def line(**what: object) -> str:
    return json.dumps({"hazard": "h", **what})


def test_ends_belong_to_the_task_of_their_process_and_those_of_others_count_nowhere() -> None:
    lines = [
        line(pid=1, after="of the processor"),
        line(pid=2, parent="p", values={"a": 1}),
        line(pid=2, after="y"),
        line(pid=2, after="x"),
        line(pid=3, parent="p", values={"a": 2}),
    ]
    one, other = read(lines, [OLD, OLD, OLD, OLD, NEW])
    assert (one.after, one.when, other.after, other.when) == (["y", "x"], OLD, [], NEW)
    assert kinds([one, other])["a"] == DIFFERENT
    assert kinds([one]) == {"a": 1, "after": ["x", "y"]}


def test_value_that_one_side_lacks_differs() -> None:
    assert differing({"a": 1, "b": None}, {"a": 1}) == {"b": (None, None)}
    assert differing({"a": 1}, {"a": 2}) == {"a": (1, 2)}
    assert differing({"a": 1}, {"a": 1}) == {}
