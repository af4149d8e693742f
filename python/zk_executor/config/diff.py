# SPDX-License-Identifier: Apache-2.0
"""What has to change for one tree to become another, as data and for people. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from zk_executor.config.tree import Tree, parents, with_parents
from zk_executor.values import told

_LINE_MAX = 200


@dataclass(frozen=True)
class Change:
    """Of one znode: ``before`` is None if it is made, ``after`` if it is deleted."""

    key: str
    before: bytes | None
    after: bytes | None

    @property
    def kind(self) -> str:
        if self.before is None:
            return "create"
        return "delete" if self.after is None else "set"


def diff(current: Tree, wanted: Tree, *, keep_others: bool = False) -> list[Change]:
    """In an order in which they can be done. The root is never deleted.

    ``keep_others``: what ``wanted`` does not name stays, else it is deleted; a znode that is named
    only because of what is below it keeps its value.
    """
    target = with_parents(wanted)
    target.setdefault("", current.get("", b""))
    if keep_others:
        between = {parent for key in wanted for parent in parents(key)}
        named = {
            key: value
            for key, value in target.items()
            if value or key not in between or key not in current
        }
        target = {**current, **named}
    changes = [
        Change(key, current.get(key), target.get(key))
        for key in {*current, *target}
        if current.get(key) != target.get(key)
    ]
    return in_order(changes)


def in_order(changes: Iterable[Change]) -> list[Change]:
    """Deletes what is deepest first, then makes what is highest first."""
    by_key = sorted(changes, key=lambda change: change.key)
    deleted = [change for change in by_key if change.after is None]
    others = [change for change in by_key if change.after is not None]
    return [*sorted(deleted, key=_depth, reverse=True), *sorted(others, key=_depth)]


def removal(current: Tree, key: str) -> list[Change]:
    """Deletes the znode and what is below it; of the root, only what is below."""
    gone = [name for name in current if name == key or not key or name.startswith(f"{key}/")]
    return in_order(Change(name, current[name], None) for name in gone if name)


def undo(current: Tree, before: dict[str, bytes | None]) -> Tree:
    """The tree as it was when these keys had these values (None: were not there)."""
    tree = dict(current)
    for key, value in before.items():
        if value is None:
            tree.pop(key, None)
        else:
            tree[key] = value
    return tree


def describe(changes: Iterable[Change], hide: Callable[[str], bool] = lambda key: False) -> str:
    """A line for each value that goes (-) and that comes (+); hidden ones as ***."""
    lines = []
    for change in sorted(changes, key=lambda change: change.key):
        for sign, value in (("-", change.before), ("+", change.after)):
            if value is None:
                continue
            text = "***" if hide(change.key) and value else told(value)
            if len(text) > _LINE_MAX:
                text = f"{text[:_LINE_MAX]}… ({len(text)} characters)"
            lines.append(f"{sign} {change.key or '(root)'}: {text}".rstrip())
    return "\n".join(lines)


def _depth(change: Change) -> int:
    return change.key.count("/") + bool(change.key)
