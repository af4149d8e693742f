# SPDX-License-Identifier: Apache-2.0
"""Configuration trees: from YAML and back, what has to change, and what undoes it."""

from __future__ import annotations

import random

import pytest
import yaml

from zk_executor.config import record as records
from zk_executor.config.diff import Change, describe, diff, removal, undo
from zk_executor.config.tree import HISTORY, Tree, below, check_key, parse, to_yaml
from zk_executor.exceptions import ZookeeperInvalidValue


def done(tree: Tree, changes: list[Change]) -> Tree:
    """As ZooKeeper does them: each has to be possible when it is its turn."""
    tree = dict(tree)
    for change in changes:
        key = change.key
        assert tree.get(key) == change.before
        if change.after is None:
            assert not any(name.startswith(f"{key}/") for name in tree), "it still has children"
            del tree[key]
        else:
            assert key == "" or key.rpartition("/")[0] in tree, "it has no parent"
            tree[key] = change.after
    return tree


def some_tree(rng: random.Random) -> Tree:
    keys = ["/".join(rng.choices("abc", k=rng.randint(1, 3))) for _ in range(rng.randint(0, 6))]
    return {"": b"", **parse({key: str(rng.randint(0, 3)) for key in keys})}


def test_what_yaml_says_is_what_is_stored() -> None:
    tree = parse(
        "db: {host: a, port: 5, '': primary}\nlist: [1, x]\nyes and: true\nnone: null\na/b: ü\n"
    )
    assert tree == {
        "db": b"primary",
        "db/host": b"a",
        "db/port": b"5",
        "list": b'[1, "x"]',
        "yes and": b"true",
        "none": b"null",
        "a": b"",
        "a/b": "ü".encode(),
    }


def test_a_tree_comes_back_from_its_own_yaml() -> None:
    for seed in range(200):
        tree = some_tree(random.Random(seed))
        tree.pop("")
        # A znode with neither value nor children comes back as an empty text.
        assert parse(to_yaml(tree)) == tree, f"seed {seed}"


def test_in_a_diff_a_value_that_is_no_text_is_shown_by_its_size() -> None:
    shown = describe(diff({}, {"blob": b"\xff\x00"}))
    assert "+ blob: <2 bytes>" in shown


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("a: [1", "not YAML"),
        ("a: b: c", "line 1"),
        ("- a", "not a list"),
        ("just text", "not a str"),
        ({"/a": 1}, "a slash at its beginning"),
        ({"a//b": 1}, "empty"),
        ({"a": {"..": 1}}, "empty, . or .."),
        ({HISTORY: 1}, "versions are kept"),
        ({"a\n": 1}, "control character"),
        ({"a": {"b": 1}, "a/b": 2}, "twice"),
        ({None: 1}, "no key"),
    ],
)
def test_what_no_tree_can_be_is_refused(source, problem) -> None:
    with pytest.raises(ZookeeperInvalidValue, match=problem):
        parse(source)


def test_a_secret_in_broken_yaml_is_not_in_the_message() -> None:
    with pytest.raises(ZookeeperInvalidValue) as caught:
        parse("password: hunter22: x\n")
    assert "hunter22" not in str(caught.value)


def test_a_diff_leads_from_any_tree_to_any_other_in_a_possible_order() -> None:
    for seed in range(300):
        rng = random.Random(seed)
        one, other = some_tree(rng), some_tree(rng)
        changes = diff(one, other)
        assert done(one, changes) == other, f"seed {seed}"
        assert undo(other, records.before_of(changes)) == one, f"seed {seed}"


def test_keeping_others_changes_only_what_is_named() -> None:
    current = {"": b"", "a": b"kept", "a/b": b"1", "c": b"2"}
    changes = diff(current, parse({"a": {"b": 5, "new": {"x": 1}}}), keep_others=True)
    assert done(current, changes) == {
        "": b"",
        "a": b"kept",
        "a/b": b"5",
        "a/new": b"",
        "a/new/x": b"1",
        "c": b"2",
    }


def test_the_root_keeps_its_value_unless_it_is_named() -> None:
    current = {"": b"mine", "a": b"1"}
    assert done(current, diff(current, {})) == {"": b"mine"}
    assert done(current, diff(current, parse({"": "new"}))) == {"": b"new"}
    assert done({}, diff({}, parse({"a": 1}))) == {"": b"", "a": b"1"}


def test_a_key_is_removed_with_what_is_below_it() -> None:
    current = {"": b"", "a": b"", "a/b": b"", "a/b/c": b"1", "ab": b"2"}
    assert done(current, removal(current, "a")) == {"": b"", "ab": b"2"}
    assert done(current, removal(current, "")) == {"": b""}
    assert removal(current, "nothing") == []


def test_a_diff_for_people_hides_secrets_and_cuts_what_is_long() -> None:
    changes = diff({"": b"", "password": b"old"}, {"password": b"new", "text": b"x" * 500})
    shown = describe(changes, lambda key: key == "password")
    assert "- password: ***\n+ password: ***" in shown
    assert "… (500 characters)" in shown
    assert "new" not in shown


def test_a_part_of_a_tree_is_a_tree() -> None:
    tree = parse({"db": {"": "x", "port": 5}, "dbx": 1})
    assert below(tree, "db") == {"": b"x", "port": b"5"}
    assert below(tree, "") == tree
    assert yaml.safe_load(to_yaml(below(tree, "db"))) == {"": "x", "port": "5"}


def test_a_record_comes_back_as_it_was() -> None:
    record = records.Record(
        7, "id", "2026-01-01", "me", "why", {"a": None, "b": "ü".encode(), "c": b"\xff"}
    )
    assert records.decode(record.encode()) == record
    with pytest.raises(ValueError, match="not a record"):
        records.decode(b"something else")


@pytest.mark.parametrize("key", ["", "a", "a/b", "ü", "a b", "zookeeper", ".hidden"])
def test_usual_keys_are_fine(key) -> None:
    assert check_key(key) == key
