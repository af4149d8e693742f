# SPDX-License-Identifier: Apache-2.0
"""The text of a configuration, YAML or JSON, read and written. Pure; any thread.

A scalar keeps the text that was written: ``1.10``, ``yes``, ``2026-01-01`` and ``~`` are what they
look like, whatever YAML makes of them. So what ``write`` writes and ``read`` reads is the same.

Errors: ZookeeperInvalidValue, with a place in the text but none of the text: there may be secrets
in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from zk_executor.exceptions import ZookeeperInvalidValue
from zk_executor.values import Written, from_binary, is_binary

_MERGE = "tag:yaml.org,2002:merge"
# What aliases may make of a text, in scalars: enough for a tree that ZooKeeper takes.
_SCALARS_MAX = 500_000


class _Loader(yaml.SafeLoader):
    """YAML with scalars as they are written, and without names that stand twice."""


class _Dumper(yaml.SafeDumper):
    """YAML in which every text comes back: a quoted line break of Unicode does not, unless it is
    escaped."""


def _text(dumper: _Dumper, text: str) -> yaml.Node:
    style = '"' if any(char in text for char in "\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _scalar(loader: _Loader, node: yaml.Node) -> Any:
    return Written(loader.construct_scalar(node))


def _mapping(loader: _Loader, node: yaml.Node) -> Any:
    seen = set()
    for name, _ in node.value:
        if name.tag == _MERGE:
            continue
        if not isinstance(name, yaml.ScalarNode):
            raise _problem("a key is a text", name)
        if name.value in seen:
            raise _problem("a key stands twice", name)
        seen.add(name.value)
    mapping: dict[str, Any] = {}
    yield mapping
    loader.flatten_mapping(node)
    for name, value in node.value:
        mapping[str(name.value)] = loader.construct_object(value, deep=False)


def _refused(loader: _Loader, node: yaml.Node) -> Any:
    raise _problem("sets and ordered mappings cannot be stored", node)


def _problem(text: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=text, problem_mark=node.start_mark)


for _kind in ("int", "float", "bool", "null", "timestamp", "value"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _scalar)
for _kind in ("set", "omap", "pairs"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _refused)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def read(text: str) -> Any:
    """What the text says, its scalars as texts."""
    try:
        if text.lstrip().startswith("{"):
            # JSON is YAML, but for characters that YAML wants to be escaped.
            return _read_json(text)
    except ValueError:
        pass
    except RecursionError:
        raise ZookeeperInvalidValue("its parts lie too deep within each other") from None
    try:
        found = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        why = getattr(error, "problem", None) or type(error).__name__
        raise ZookeeperInvalidValue(f"this is not YAML: {why}{where}") from None
    except (RecursionError, ValueError):
        raise ZookeeperInvalidValue("its parts lie too deep within each other") from None
    _count(found)
    return found


def write(value: Any) -> str:
    """As a person writes it, and as ``read`` reads it."""
    return str(yaml.dump(_native(value), Dumper=_Dumper, sort_keys=True, allow_unicode=True))


def _read_json(text: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ZookeeperInvalidValue("a key stands twice in one of its mappings")
        return found

    def constant(name: str) -> Any:
        raise ValueError(name)

    return json.loads(
        text,
        object_pairs_hook=unique,
        parse_int=Written,
        parse_float=Written,
        parse_constant=constant,
    )


def _count(found: Any) -> None:
    """Refuses what aliases make endless, before anybody walks through all of it."""
    left, above = _SCALARS_MAX, set[int]()
    stack: list[tuple[Any, bool]] = [(found, False)]
    while stack:
        value, leaving = stack.pop()
        if not isinstance(value, (dict, list)):
            left -= 1
        elif leaving:
            above.discard(id(value))
            continue
        else:
            if id(value) in above:
                raise ZookeeperInvalidValue("an alias in it leads back to itself")
            above.add(id(value))
            stack.append((value, True))
            left -= 1
            stack += [
                (item, False) for item in (value.values() if isinstance(value, dict) else value)
            ]
        if left < 0:
            raise ZookeeperInvalidValue(f"it has more than {_SCALARS_MAX} values")


def _native(value: Any) -> Any:
    """With the bytes of binary values, for which YAML has a tag of its own."""
    if is_binary(value):
        return from_binary(value)
    if isinstance(value, Mapping):
        return {name: _native(item) for name, item in value.items()}
    return value
