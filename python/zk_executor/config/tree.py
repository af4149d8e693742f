# SPDX-License-Identifier: Apache-2.0
"""A configuration tree: from a dict or YAML to znodes, and back. Pure.

A tree is a mapping of keys to values as bytes. The key is the path below the tree's root, without
a slash at its beginning; the root itself has the key ``""``. What is stored for a value is in
values.py; in YAML text a scalar is stored as it is written. In a dict the key ``""`` is the value
of a znode that has children.

Errors: ZookeeperInvalidValue, which says what is wrong where; the caller adds the connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from zk_executor import names
from zk_executor.config import document
from zk_executor.exceptions import ZookeeperInvalidValue
from zk_executor.values import BINARY, encode, from_binary, is_binary, shown

Tree = dict[str, bytes]
HISTORY = ".config-history"
# Parts of a key; YAML and JSON of a deeper tree cannot be written and read everywhere.
KEY_DEPTH_MAX = 50


def check_key(key: str) -> str:
    """The key, if a znode can have it. Errors: ZookeeperInvalidValue."""
    problem = names.key_problem(key) if key != "" else ""
    if not problem:
        parts = key.split("/")
        if HISTORY in parts:
            problem = f"{HISTORY} is where the versions are kept"
        elif BINARY in parts:
            problem = f"{BINARY} marks a value that is no text"
        elif len(parts) > KEY_DEPTH_MAX:
            problem = f"it has {len(parts)} parts, and may have {KEY_DEPTH_MAX}"
    if problem:
        raise ZookeeperInvalidValue(
            f"{names.quoted(key)} is no key of a configuration: {problem}. Write it as db/port"
        )
    return key


def parse(source: Any) -> Tree:
    """The tree that a dict, or YAML text of one, describes. Errors: ZookeeperInvalidValue."""
    if isinstance(source, str):
        source = document.read(source)
    if source is None or source in ("", "null", "~"):
        source = {}
    if not isinstance(source, Mapping):
        kind = "str" if isinstance(source, str) else type(source).__name__
        raise ZookeeperInvalidValue(f"a configuration is a mapping of keys to values, not a {kind}")
    tree: Tree = {}
    _collect("", source, tree)
    return with_parents(tree)


def _collect(prefix: str, source: Mapping[Any, Any], tree: Tree) -> None:
    if is_binary(source):
        tree[prefix] = _encoded(prefix, source)
        return
    for name, value in source.items():
        if isinstance(name, bool) or not isinstance(name, (str, int)):
            raise ZookeeperInvalidValue(
                f"a {type(name).__name__} below {prefix or 'the root'!r} is no key: write it as a "
                "text"
            )
        name = str(name)
        key = prefix if name == "" else check_key(f"{prefix}/{name}" if prefix else name)
        if isinstance(value, Mapping) and not is_binary(value):
            if name == "":
                raise ZookeeperInvalidValue(f"the key '' below {key!r} takes a value, not a tree")
            tree.setdefault(key, b"")
            _collect(key, value, tree)
            continue
        data = _encoded(key, value)
        if tree.get(key, b"") not in (b"", data):
            raise ZookeeperInvalidValue(f"{key!r} is there twice")
        tree[key] = data


def _encoded(key: str, value: Any) -> bytes:
    try:
        return from_binary(value) if is_binary(value) else encode(value)
    except ZookeeperInvalidValue as error:
        raise ZookeeperInvalidValue(f"{key or 'the root'!r}: {error}") from None


def parents(key: str) -> Iterable[str]:
    """Those of a key, from the top, without the root."""
    parts = key.split("/")
    return ("/".join(parts[:count]) for count in range(1, len(parts)))


def with_parents(tree: Tree) -> Tree:
    """The tree with a znode for each part of each key."""
    full = dict(tree)
    for key in tree:
        for parent in parents(key):
            full.setdefault(parent, b"")
    return full


def below(tree: Tree, key: str) -> Tree:
    """The part of the tree at the key, with keys as if it were the root."""
    if not key:
        return dict(tree)
    found = {name[len(key) + 1 :]: tree[name] for name in tree if name.startswith(f"{key}/")}
    return {"": tree[key], **found} if key in tree else found


def nested(tree: Tree) -> dict[str, Any]:
    """As dicts within dicts, values as values.py shows them."""
    full = {"": b"", **with_parents(tree)}
    inner = {parent for key in full for parent in parents(key)} | {""}
    places: dict[str, dict[str, Any]] = {}
    # A parent comes before what is below it.
    for key in sorted(full):
        above, _, name = key.rpartition("/")
        if key in inner:
            places[key] = {"": shown(full[key])} if full[key] else {}
            if key:
                places[above][name] = places[key]
        else:
            places[above][name] = shown(full[key])
    return places[""]


def to_yaml(tree: Tree) -> str:
    """As a person writes it, and as ``parse`` reads it."""
    return document.write(nested(tree))
