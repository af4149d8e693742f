# SPDX-License-Identifier: Apache-2.0
"""A configuration tree: from a dict or YAML to znodes, and back. Pure.

A tree is a mapping of keys to values as bytes. The key is the path below the tree's root, without
a slash at its beginning; the root itself has the key ``""``. A text is stored as it is, every other
scalar and every list as JSON. In a dict the key ``""`` is the value of a znode that has children.

Errors: ZookeeperInvalidValue, which says what is wrong where; the caller adds the connection.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from zk_executor import names
from zk_executor.exceptions import ZookeeperInvalidValue

Tree = dict[str, bytes]
HISTORY = ".config-history"


def check_key(key: str) -> str:
    """The key, if a znode can have it. Errors: ZookeeperInvalidValue."""
    problem = names.key_problem(key) if key != "" else ""
    if not problem and HISTORY in key.split("/"):
        problem = f"{HISTORY} is where the versions are kept"
    if problem:
        raise ZookeeperInvalidValue(
            f"{names.quoted(key)} is no key of a configuration: {problem}. Write it as db/port"
        )
    return key


def encode(value: Any) -> bytes:
    """What is stored for a scalar or a list."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    try:
        return json.dumps(value, ensure_ascii=False, default=str).encode()
    except (TypeError, ValueError) as error:
        raise ZookeeperInvalidValue(
            f"a value of type {type(value).__name__} cannot be stored: {error}"
        ) from None


def shown(value: bytes | None) -> str | None:
    """The text of a value; of one that is no text, its size."""
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return f"<{len(value)} bytes>"


def parse(source: Any) -> Tree:
    """The tree that a dict, or YAML text of one, describes. Errors: ZookeeperInvalidValue."""
    if isinstance(source, str):
        try:
            source = yaml.safe_load(source)
        except yaml.YAMLError as error:
            # Not the text: there may be secrets in it.
            mark = getattr(error, "problem_mark", None)
            where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
            why = getattr(error, "problem", None) or type(error).__name__
            raise ZookeeperInvalidValue(f"this is not YAML: {why}{where}") from None
    if source is None:
        source = {}
    if not isinstance(source, Mapping):
        raise ZookeeperInvalidValue(
            f"a configuration is a mapping of keys to values, not a {type(source).__name__}"
        )
    tree: Tree = {}
    _collect("", source, tree)
    return with_parents(tree)


def _collect(prefix: str, source: Mapping[Any, Any], tree: Tree) -> None:
    for name, value in source.items():
        if name is None or isinstance(name, (bool, float, tuple)):
            raise ZookeeperInvalidValue(f"{name!r} below {prefix or 'the root'!r} is no key")
        name = str(name)
        key = prefix if name == "" else check_key(f"{prefix}/{name}" if prefix else name)
        if isinstance(value, Mapping):
            if name == "":
                raise ZookeeperInvalidValue(f"the key '' below {key!r} takes a value, not a tree")
            tree.setdefault(key, b"")
            _collect(key, value, tree)
        elif tree.get(key, b"") not in (b"", encode(value)):
            raise ZookeeperInvalidValue(f"{key!r} is there twice")
        else:
            tree[key] = encode(value)


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


def nested(tree: Tree) -> Any:
    """As dicts within dicts, values as text."""
    result: dict[str, Any] = {}
    for key in sorted(tree):
        if key == "":
            if tree[key]:
                result[""] = shown(tree[key])
            continue
        *above, name = key.split("/")
        place = result
        for part in above:
            inner = place.get(part)
            if not isinstance(inner, dict):
                inner = place[part] = {"": inner} if inner else {}
            place = inner
        if isinstance(place.get(name), dict):
            place[name] = {"": shown(tree[key]), **place[name]}
        else:
            place[name] = shown(tree[key])
    return result


def to_yaml(tree: Tree) -> str:
    """As a person writes it, and as ``parse`` reads it."""
    return str(yaml.safe_dump(nested(tree), sort_keys=True, allow_unicode=True))
