# SPDX-License-Identifier: Apache-2.0
"""What an operator or a command is about to change: planned first, shown, then done or not.

Threads: as the store. Errors: those of the store; ZookeeperInvalidValue with connection and path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from zk_executor.config.diff import Change, describe, diff, removal
from zk_executor.config.store import ConfigStore, Snapshot
from zk_executor.config.tree import Tree, below, check_key, nested, parse
from zk_executor.exceptions import (
    ZookeeperInvalidValue,
    ZookeeperNotFound,
    ZookeeperStaleVersion,
)
from zk_executor.values import HIDDEN, encode, is_binary, shown

_T = TypeVar("_T")


@dataclass(frozen=True)
class Plan:
    """Changes to the tree as it was seen, and what else must still be as it was seen."""

    store: ConfigStore
    seen: Snapshot
    changes: list[Change]
    unchanged: tuple[str, ...] = ()
    comment: str = ""

    def describe(self, hide: Callable[[str], bool] = lambda key: False) -> str:
        return describe(self.changes, hide) or "nothing to change"

    def commit(self, author: str, comment: str = "") -> int:
        """The revision after it."""
        return self.store.commit(
            self.seen,
            self.changes,
            author=author,
            comment=comment or self.comment,
            unchanged=self.unchanged,
        )


def get(store: ConfigStore, key: str = "", revision: int | None = None) -> tuple[int, Any]:
    """The revision, and the value there: a text, or dicts if there is something below it.

    A value that is no text is what values.py makes of it.
    """
    _named(store, check_key, key)
    seen = store.read()
    tree = seen.tree if revision is None else store.tree_at(revision, seen)
    if not tree:
        raise ZookeeperNotFound(
            f"{store.where}: there is no such configuration. Make it with the action apply or "
            "set, or with airflow zk config apply"
        )
    if key not in tree:
        raise ZookeeperNotFound(
            f"{store.where}: there is no key {key!r} in revision "
            f"{seen.revision if revision is None else revision}"
        )
    found = below(tree, key)
    value = shown(found[""]) if set(found) == {""} and key else nested(found)
    return (seen.revision if revision is None else revision), value


def plan_set(
    store: ConfigStore, key: str, value: Any, *, expected_revision: int | None = None
) -> Plan:
    """One value; what is above it is made if it is missing."""
    _named(store, check_key, key)
    if isinstance(value, Mapping) and not is_binary(value):
        wanted = _named(store, parse, {key: value} if key else value)
    else:
        wanted = {key: _named(store, encode, value, key)}
    _refuse_hidden(store, wanted)
    seen = _read(store, expected_revision)
    return Plan(store, seen, diff(seen.tree, wanted, keep_others=True), comment=f"set {key}")


def plan_delete(store: ConfigStore, key: str, *, expected_revision: int | None = None) -> Plan:
    """The key and what is below it; of the root, only what is below. Missing: nothing to do."""
    _named(store, check_key, key)
    seen = _read(store, expected_revision)
    return Plan(store, seen, removal(seen.tree, key), comment=f"delete {key}".strip())


def plan_apply(
    store: ConfigStore,
    source: Any,
    *,
    keep_others: bool = False,
    expected_revision: int | None = None,
) -> Plan:
    """The whole tree becomes what a dict or YAML text says."""
    wanted = _named(store, parse, source)
    _refuse_hidden(store, wanted)
    return _plan_tree(store, _read(store, expected_revision), wanted, "apply", keep_others)


def plan_rollback(
    store: ConfigStore, revision: int, *, expected_revision: int | None = None
) -> Plan:
    """The whole tree becomes what it was, as a new revision."""
    seen = _read(store, expected_revision)
    wanted = store.tree_at(revision, seen)
    return _plan_tree(store, seen, wanted, f"rollback to revision {revision}")


def _plan_tree(
    store: ConfigStore, seen: Snapshot, wanted: Tree, comment: str, keep_others: bool = False
) -> Plan:
    changes = diff(seen.tree, wanted, keep_others=keep_others)
    touched = {change.key for change in changes}
    unchanged = tuple(sorted(key for key in wanted if key in seen.tree and key not in touched))
    return Plan(store, seen, changes, unchanged, comment)


def _read(store: ConfigStore, expected_revision: int | None) -> Snapshot:
    seen = store.read()
    if expected_revision is not None and seen.revision != expected_revision:
        raise ZookeeperStaleVersion(
            f"{store.where}: it is at revision {seen.revision}, not {expected_revision}: somebody "
            "changed it meanwhile. Nothing was done. Read it again, then decide"
        )
    return seen


def _refuse_hidden(store: ConfigStore, wanted: Tree) -> None:
    for key, value in wanted.items():
        if value == HIDDEN.encode():
            raise ZookeeperInvalidValue(
                f"{store.where}: {key or '(root)'} is {HIDDEN}, which stands where a secret was "
                "hidden and would replace it. Nothing was done. Read the secrets, too "
                "(show_secrets), or leave them out (keep_others)"
            )


def _named(store: ConfigStore, function: Callable[[Any], _T], argument: Any, key: str = "") -> _T:
    try:
        return function(argument)
    except ZookeeperInvalidValue as error:
        about = f"{key}: " if key else ""
        raise type(error)(f"{store.where}: {about}{error}. Nothing was done") from None
