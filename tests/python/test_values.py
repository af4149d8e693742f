# SPDX-License-Identifier: Apache-2.0
"""Values and trees: whatever is accepted comes back equal, the rest is refused with a reason."""

from __future__ import annotations

import datetime
import decimal
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zk_executor.config import document
from zk_executor.config import record as records
from zk_executor.config.diff import diff, undo
from zk_executor.config.tree import Tree, below, nested, parse, to_yaml
from zk_executor.exceptions import ZookeeperInvalidValue
from zk_executor.sensors.config import ZookeeperConfigSensor
from zk_executor.triggers.zookeeper import is_met
from zk_executor.values import BINARY, encode, from_binary, is_binary, shown

texts = st.text(max_size=30)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), texts
)
lists = st.lists(
    st.recursive(
        scalars,
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner)),
        max_leaves=8,
    ),
    max_size=5,
)
values = st.one_of(scalars, lists, st.binary(max_size=30))
# Names: anything, most of which names.py refuses, and some that YAML takes for something else.
parts = st.one_of(
    st.text(min_size=1, max_size=8),
    st.text("abc0123456789.-_ ", min_size=1, max_size=6),
    st.sampled_from(["yes", "null", "~", "1.10", "=", "<<", "2026-01-01", "!!binary", "- a", "{"]),
)
trees = st.recursive(
    values,
    lambda inner: st.dictionaries(st.one_of(parts, st.just("")), inner, max_size=4),
    max_leaves=10,
).filter(lambda tree: isinstance(tree, dict))


def accepted(source: Any) -> Tree | None:
    """None if it is refused, in words."""
    try:
        return parse(source)
    except ZookeeperInvalidValue as error:
        assert str(error)
        str(error).encode()
        return None


@given(values)
@example("\ud800")
@example(["a", "\udfff"])
@example(10**5000)
@settings(max_examples=300, deadline=None)
def test_a_value_that_is_accepted_is_shown_as_what_was_stored(value: Any) -> None:
    try:
        stored = encode(value)
    except ZookeeperInvalidValue as error:
        str(error).encode()
        return
    assert encode(shown(stored)) == stored, "what is read is stored as the same bytes"
    if isinstance(value, str):
        assert shown(stored) == value
    elif not isinstance(value, bytes):
        assert json.loads(stored) == value


@given(trees)
@example({"a": "\x85", "b\u2028": "\u2029x\u2028", "c": "\ufeff \r\n\t", "d": "\x00\x7f"})
@settings(max_examples=400, deadline=None)
def test_a_tree_that_is_accepted_comes_back_through_yaml_json_and_dicts(source: Any) -> None:
    tree = accepted(source)
    if tree is None:
        return
    shape = nested(tree)
    for door in (to_yaml(tree), json.dumps(shape, ensure_ascii=False), json.dumps(shape), shape):
        assert {"": b"", **parse(door)} == {"": b"", **tree}
    for key in tree:
        part = below(tree, key)
        assert {"": b"", **parse(nested(part))} == {"": b"", **part}


@given(trees, trees)
@settings(max_examples=200, deadline=None)
def test_a_revision_is_undone_by_its_record_whatever_the_values_are(one: Any, other: Any) -> None:
    before, after = accepted(one), accepted(other)
    if before is None or after is None:
        return
    before.setdefault("", b"")
    changes = diff(before, after)
    entry = records.Record(1, "id", "now", "me", "why", records.before_of(changes))
    now = {**before, **{change.key: change.after for change in changes}}
    tree = {key: value for key, value in now.items() if value is not None}
    assert undo(tree, records.decode(entry.encode()).before) == before


@given(texts)
@settings(max_examples=200, deadline=None)
def test_yaml_text_is_read_or_refused_and_what_is_read_comes_back(text: str) -> None:
    tree = accepted(text)
    if tree is not None:
        assert {"": b"", **parse(to_yaml(tree))} == {"": b"", **tree}


@given(values)
@settings(max_examples=200, deadline=None)
def test_a_sensor_that_waits_for_a_value_meets_what_set_stored_for_it(value: Any) -> None:
    try:
        stored = encode(value)
    except ZookeeperInvalidValue:
        return
    if value is None:
        return
    sensor = ZookeeperConfigSensor(task_id="t", path="/a", equals=value)
    assert is_met(*sensor._condition(), stored)


@pytest.mark.parametrize(
    "written",
    [
        "1.10", "010", "0x1F", "1_000", "1:30", "yes", "No", "on", "OFF", "True", "null", "~", "=",
        "2026-01-01", "2026-01-01 10:00:00", ".5", "1e3", "+1", ".inf", ".NaN", "-0", "5", "1.0",
    ],
)  # fmt: skip
def test_a_scalar_of_yaml_is_stored_as_it_is_written(written: str) -> None:
    assert parse(f"a: {written}\n{written}: x\n") == {"a": written.encode(), written: b"x"}


def test_what_a_list_could_not_keep_as_it_is_written_is_refused() -> None:
    assert parse('a: [1, 1.5, true, null, x, "1.10", "yes"]') == {
        "a": b'[1, 1.5, true, null, "x", "1.10", "yes"]'
    }
    for written in ("1.10", "yes", "2026-01-01", "~", "0x1F"):
        with pytest.raises(ZookeeperInvalidValue, match="'a': .*quote it") as caught:
            parse(f"a: [x, {written}]")
        assert written not in str(caught.value).partition("(")[0], "it may be a secret"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (datetime.date(2026, 1, 1), "type date"),
        (datetime.datetime(2026, 1, 1), "type datetime"),
        (decimal.Decimal("1.10"), "type Decimal"),
        ({1, 2}, "type set"),
        (object(), "type object"),
        ([datetime.date(2026, 1, 1)], "type date"),
        ([{1: "a"}], "are texts"),
        ([b"bytes"], "type bytes"),
        (float("nan"), "JSON does not have"),
        (float("inf"), "JSON does not have"),
        ("\ud800", "lone surrogate"),
        (["\ud800"], "lone surrogate"),
    ],
)
def test_what_no_value_can_be_is_refused_with_the_key_and_the_reason(value: Any, says: str) -> None:
    with pytest.raises(ZookeeperInvalidValue, match=says):
        encode(value)
    with pytest.raises(ZookeeperInvalidValue, match=f"'db/port': .*{says}"):
        parse({"db": {"port": value}})


def test_bytes_that_are_no_text_are_carried_and_never_replaced() -> None:
    tree = parse({"blob": b"\xff\x00\xfe", "both": {"": b"\xff", "below": 1}})
    assert nested(tree) == {
        "blob": {BINARY: "/wD+"},
        "both": {"": {BINARY: "/w=="}, "below": "1"},
    }
    assert is_binary(shown(b"\xff")) and from_binary(shown(b"\xff")) == b"\xff"
    assert parse("a: !!binary /wD+") == {"a": b"\xff\x00\xfe"}
    for wrong in ({BINARY: "no base64!"}, {BINARY: 5}, {BINARY: "/w==", "more": 1}):
        with pytest.raises(ZookeeperInvalidValue, match="base64|no text"):
            parse({"a": wrong})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\na: 2\n", "twice in line 2"),
        ('{"a": 1, "a": 2}', "twice"),
        ("a: &x [*x]\n", "leads back"),
        ("a: &x {b: *x}\n", "leads back|recursive"),
        ("? [a, b]\n: 1\n", "a key is a text"),
        ("a: !!set {x, y}\n", "sets"),
        ("a: !!python/object:os.system x\n", "not YAML"),
        ("[" * 5000, "too deep"),
        ('{"a":' * 5000, "too deep"),
        ("a: " + "[" * 100 + "]" * 100, "within each other"),
    ],
)
def test_a_text_that_cannot_be_kept_as_it_is_is_refused(text: str, says: str) -> None:
    with pytest.raises(ZookeeperInvalidValue, match=says):
        parse(text)


def test_aliases_cannot_make_a_small_text_endless() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for number in range(1, 10):
        lines.append(f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 10)}]")
    with pytest.raises(ZookeeperInvalidValue, match="more than"):
        parse("\n".join(lines))


def test_merges_and_aliases_are_what_yaml_says() -> None:
    text = "base: &base {host: a, port: 1}\neu: {<<: *base, port: 2}\n"
    assert document.read(text)["eu"] == {"host": "a", "port": "2"}


def test_a_key_is_not_deeper_than_its_text_can_be_read() -> None:
    deepest = "/".join("d" * 50)
    assert parse(to_yaml(parse({deepest: 1})))[deepest] == b"1"
    with pytest.raises(ZookeeperInvalidValue, match="51 parts"):
        parse({f"{deepest}/d": 1})
