# SPDX-License-Identifier: Apache-2.0
"""A configuration tree in ZooKeeper, with its versions.

    ROOT                          value of the key ""
    ROOT/db/port                  value of the key db/port
    ROOT/.config-history          head: the revision, and how many are kept, as JSON; its version
                                  guards every change
    ROOT/.config-history/r…7      record of revision 7: who, when, why, values from before

Each change, its record and the head are one transaction: readers of ``read`` see it whole or not.
Threads: one at a time. Errors: those of the hook; nothing is half done with any of them.
Session: none is needed for what is kept. After a lost connection ``commit`` looks whether its
change arrived, by the record's id, before it tries again.
"""

from __future__ import annotations

import functools
import json
import logging
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any, TypeVar

from kazoo.client import TransactionRequest
from kazoo.exceptions import (
    BadVersionError,
    ConnectionLoss,
    KazooException,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    RolledBackError,
    RuntimeInconsistency,
)

from zk_executor.config import record as records
from zk_executor.config.diff import Change, undo
from zk_executor.config.record import Record
from zk_executor.config.tree import HISTORY, Tree
from zk_executor.exceptions import (
    ZookeeperConnectionError,
    ZookeeperError,
    ZookeeperInvalidValue,
    ZookeeperNotFound,
    ZookeeperStaleVersion,
    check_path,
)
from zk_executor.hooks.zookeeper import ZookeeperHook
from zk_executor.sizes import check_request, check_value, fits
from zk_executor.values import utf8
from zk_executor.zk import waits

F = TypeVar("F", bound=Callable[..., Any])
# Kept unless the tree was told otherwise; HISTORY_LIMIT is the most that it can be told.
HISTORY_MAX = 100
HISTORY_LIMIT = 100_000
_PRUNED_AT_ONCE = 10

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Snapshot:
    """A tree as it was at one moment. ``head`` is the head's version, None if there is no head.

    ``history_max``: how many revisions the tree was told to keep, if it was.
    """

    revision: int
    head: int | None
    tree: Tree
    versions: dict[str, int]
    history_max: int | None = None


@dataclass(frozen=True)
class _Commit:
    """All that one transaction is made of. ``entry`` is its record, and ``data`` that as bytes."""

    seen: Snapshot
    changes: list[Change]
    entry: Record
    data: bytes
    unchanged: list[str]  # keys that must be as they were
    ancestors: list[str]  # paths above the tree that are missing
    outdated: list[str]  # names of records that are kept no more


@dataclass(frozen=True)
class _Head:
    revision: int = 0
    version: int | None = None
    history_max: int | None = None


def _in_time(method: F) -> F:
    """Of all that a method asks for, together, the connection's operation_timeout is the limit."""

    @functools.wraps(method)
    def limited(self: ConfigStore, *args: Any, **kwargs: Any) -> Any:
        with self._hook.within_timeout():
            return method(self, *args, **kwargs)

    return limited  # type: ignore[return-value]


class ConfigStore:
    """The tree below ``root``. Each method ends in operation_timeout, or with an error.

    history_max: how many revisions are kept; the tree remembers it from the next change on, for
    those who don't say. Errors: ZookeeperInvalidPath, ZookeeperInvalidValue.
    """

    def __init__(self, hook: ZookeeperHook, root: str, *, history_max: int | None = None) -> None:
        self.root = check_path(root, conn_id=hook.conn_id)
        self._hook = hook
        if history_max is not None and not (
            type(history_max) is int and 1 <= history_max <= HISTORY_LIMIT
        ):
            raise ZookeeperInvalidValue(
                f"{self.where}: history_max is {history_max!r}; it must be a number of revisions "
                f"from 1 to {HISTORY_LIMIT}"
            )
        self._history_max = history_max

    @property
    def hook(self) -> ZookeeperHook:
        return self._hook

    @property
    def where(self) -> str:
        login = self._hook.login
        return f"ZooKeeper connection {self._hook.conn_id!r} (hosts {login.address}): {self.root}"

    def path_of(self, key: str) -> str:
        base = "" if self.root == "/" else self.root
        return f"{base}/{key}" if key else self.root

    @property
    def head_path(self) -> str:
        return self.path_of(HISTORY)

    @_in_time
    def revision(self) -> int:
        """The newest; 0 if nothing was ever changed through us."""
        return self._read_head().revision

    @_in_time
    def read(self) -> Snapshot:
        """The whole tree as one transaction left it; empty if there is no root."""
        self._hook.call("sync", self.root)
        # The rest of the time is for the round that is under way then.
        deadline = time.monotonic() + waits.left(self._hook.login.operation_timeout) / 2
        while True:
            before = self._read_head()
            nodes = self._read_nodes()
            if nodes is not None and self._read_head() == before:
                return Snapshot(
                    before.revision,
                    before.version,
                    {key: data for key, (data, _) in nodes.items()},
                    {key: version for key, (_, version) in nodes.items()},
                    before.history_max,
                )
            if time.monotonic() > deadline:
                raise ZookeeperStaleVersion(
                    f"{self.where}: it is changed faster than it can be read. Try again"
                )

    @_in_time
    def commit(
        self,
        seen: Snapshot,
        changes: Iterable[Change],
        *,
        author: str = "",
        comment: str = "",
        unchanged: Iterable[str] = (),
    ) -> int:
        """Makes the changes, all or none; returns the new revision.

        ``unchanged``: keys that must still be as they were seen, if that many checks fit into the
        transaction; else only what is changed, and the head, which everybody changes who goes
        through us. Errors: ZookeeperStaleVersion if the tree is no longer what ``seen`` says,
        ZookeeperValueTooLarge, and ZookeeperInvalidValue for an author or comment that is no text.
        """
        changes = list(changes)
        if not changes:
            return seen.revision
        self._check_texts(author=author, comment=comment)
        entry = Record(
            revision=seen.revision + 1,
            id=uuid.uuid4().hex,
            when=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            author=author,
            comment=comment,
            before=records.before_of(changes),
        )
        data = entry.encode()
        for change in changes:
            check_value(change.after or b"", self._where_is(change.key))
        ancestors, outdated = self._missing_ancestors(), self._outdated(seen)
        commit = self._with_checks_that_fit(
            _Commit(seen, changes, entry, data, list(unchanged), ancestors, outdated)
        )
        deadline = time.monotonic() + self._hook.login.operation_timeout
        lost = False
        while True:
            try:
                self._transact(commit)
                return entry.revision
            except ZookeeperConnectionError:
                lost = True
                if self._arrived(entry):
                    return entry.revision
                if time.monotonic() > deadline:
                    raise
            except ZookeeperError:
                if lost and self._arrived(entry):
                    return entry.revision
                raise

    @_in_time
    def history(self, limit: int | None = None) -> list[Record]:
        """The records, newest first; all that are kept, or the ``limit`` newest."""
        try:
            names = sorted(self._hook.call("get_children", self.head_path), reverse=True)
        except ZookeeperNotFound:
            return []
        found = []
        for name in names[:limit]:
            try:
                data, _ = self._hook.call("get", f"{self.head_path}/{name}")
            except ZookeeperNotFound:
                continue  # grew too old meanwhile
            found.append(self._decode(name, data))
        return found

    @_in_time
    def tree_at(self, revision: int, now: Snapshot | None = None) -> Tree:
        """The tree of an older revision. Errors: ZookeeperNotFound if it is kept no more."""
        now = now or self.read()
        tree = now.tree
        if not 0 <= revision <= now.revision:
            raise ZookeeperNotFound(
                f"{self.where}: there is no revision {revision}; the newest is {now.revision}"
            )
        for number in range(now.revision, revision, -1):
            name = records.name_of(number)
            try:
                data, _ = self._hook.call("get", f"{self.head_path}/{name}")
            except ZookeeperNotFound as error:
                raise ZookeeperNotFound(
                    f"{self.where}: revision {revision} is kept no more; the oldest that can be "
                    f"had is {number}. airflow zk config history shows them"
                ) from error
            tree = undo(tree, self._decode(name, data).before)
        return tree

    def _decode(self, name: str, data: bytes) -> Record:
        try:
            return records.decode(data)
        except ValueError as error:
            raise ZookeeperError(
                f"{self.where}: {HISTORY}/{name} cannot be read ({error}). Somebody else wrote "
                "it; delete that znode"
            ) from None

    def _read_head(self) -> _Head:
        try:
            data, stat = self._hook.call("get", self.head_path)
        except ZookeeperNotFound:
            return _Head()
        try:
            found = json.loads(data)
            kept = found.get("history_max")
            if not (type(kept) is int and 1 <= kept <= HISTORY_LIMIT):
                kept = None
            return _Head(int(found["revision"]), stat.version, kept)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ZookeeperError(
                f"{self.where}: {HISTORY} does not say a revision. Somebody else wrote it; delete "
                "that znode with what is below it, and versions begin anew"
            ) from None

    def _read_nodes(self) -> dict[str, tuple[bytes, int]] | None:
        """None if a znode went away meanwhile."""
        nodes: dict[str, tuple[bytes, int]] = {}
        level = [""]
        while level:
            got = self._each("get", level)
            children = self._each("get_children", level)
            below = []
            for key, answer, names in zip(level, got, children, strict=True):
                if answer is None or names is None:
                    if key == "":
                        return {}
                    return None
                nodes[key] = (answer[0] or b"", answer[1].version)
                below += [
                    f"{key}/{name}" if key else name
                    for name in names
                    if not (key == "" and name == HISTORY)
                    and not (self.root == "/" and key == "" and name == "zookeeper")
                ]
            level = below
        return nodes

    def _each(self, operation: str, keys: list[str]) -> list[Any]:
        """The answers, asked for many at once; None for what is not there."""
        client = self._hook.get_conn()
        method = getattr(client, f"{operation}_async")

        def finish(path: str, first: Any) -> Any:
            # The call that is under way first; after a lost connection another one.
            pending = [first]
            try:
                return self._hook.await_result(
                    lambda: pending.pop() if pending else method(path), path, operation
                )
            except ZookeeperNotFound:
                return None

        paths = [self.path_of(key) for key in keys]
        return [finish(path, first) for path, first in waits.pipelined(method, paths)]

    def _kept(self, seen: Snapshot) -> int:
        return self._history_max or seen.history_max or HISTORY_MAX

    def _where_is(self, key: str) -> str:
        return f"ZooKeeper connection {self._hook.conn_id!r}: {self.path_of(key)}"

    def _check_texts(self, **texts: str) -> None:
        for name, text in texts.items():
            try:
                utf8(text)
            except ZookeeperInvalidValue as error:
                raise ZookeeperInvalidValue(f"{self.where}: {name}: {error}") from None

    def _with_checks_that_fit(self, commit: _Commit) -> _Commit:
        """The same, without the checks of ``unchanged`` if they are more than a request takes.

        Whoever changes one of these past us at that moment is then as if a moment later: its change
        stands, as it would. Errors: ZookeeperValueTooLarge if the changes alone are too many.
        """
        if fits(self._transaction(commit)[0]):
            return commit
        without = replace(commit, unchanged=[])
        check_request(
            self._transaction(without)[0],
            self.where,
            f"{len(commit.changes)} changes, with what is kept to undo them,",
            "Split the tree, or change it in parts",
        )
        log.info(
            "%s: the %d keys that stay as they are are too many to be checked in the same "
            "transaction; the revision and what changes are",
            self.where,
            len(commit.unchanged),
        )
        return without

    def _missing_ancestors(self) -> list[str]:
        parts = self.root.split("/")[1:-1]
        above = ["/" + "/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        return [path for path in above if self._hook.call("exists", path) is None]

    def _outdated(self, seen: Snapshot) -> list[str]:
        if seen.head is None:
            return []
        oldest = records.name_of(max(0, seen.revision + 1 - self._kept(seen)))
        names = sorted(self._hook.call("get_children", self.head_path))
        return [name for name in names if name <= oldest][:_PRUNED_AT_ONCE]

    def _arrived(self, entry: Record) -> bool:
        try:
            self._hook.call("sync", self.root)
            path = f"{self.head_path}/{records.name_of(entry.revision)}"
            data, _ = self._hook.call("get", path)
        except ZookeeperNotFound:
            return False
        return self._decode(path, data).id == entry.id

    def _transact(self, commit: _Commit) -> None:
        paths: list[str] = []

        def build() -> Any:
            transaction, paths[:] = self._transaction(commit)
            return transaction.commit_async()

        results = self._hook.await_result(build, self.root, "change", repeat=False)
        for path, result in zip(paths, results, strict=False):
            if isinstance(result, KazooException) and not isinstance(
                result, (RolledBackError, RuntimeInconsistency)
            ):
                raise self._refused(path, result, commit.seen)

    def _transaction(self, commit: _Commit) -> tuple[TransactionRequest, list[str]]:
        """Not committed, with the path of each of its operations."""
        seen = commit.seen
        transaction = self._hook.get_conn().transaction()
        paths: list[str] = []

        def add(operation: Callable[..., None], path: str, *args: Any) -> None:
            operation(path, *args)
            paths.append(path)

        for path in commit.ancestors:
            add(transaction.create, path)
        for key in commit.unchanged:
            add(transaction.check, self.path_of(key), seen.versions[key])
        for change in commit.changes:
            path = self.path_of(change.key)
            if change.after is None:
                add(transaction.delete, path, seen.versions[change.key])
            elif change.before is None:
                add(transaction.create, path, change.after)
            else:
                add(transaction.set_data, path, change.after, seen.versions[change.key])
        head: dict[str, int] = {"revision": commit.entry.revision}
        if kept := self._history_max or seen.history_max:
            head["history_max"] = kept
        written = json.dumps(head).encode()
        if seen.head is None:
            add(transaction.create, self.head_path, written)
        else:
            add(transaction.set_data, self.head_path, written, seen.head)
        add(
            transaction.create,
            f"{self.head_path}/{records.name_of(commit.entry.revision)}",
            commit.data,
        )
        for name in commit.outdated:
            add(transaction.delete, f"{self.head_path}/{name}")
        return transaction, paths

    def _refused(self, path: str, error: KazooException, seen: Snapshot) -> ZookeeperError:
        if isinstance(error, (BadVersionError, NoNodeError, NodeExistsError, NotEmptyError)):
            return ZookeeperStaleVersion(
                f"{self.where}: somebody changed {path} meanwhile ({type(error).__name__}), after "
                f"revision {seen.revision}, which we saw. Nothing was done. Read it again, then "
                "decide"
            )
        if isinstance(error, ConnectionLoss):
            return ZookeeperConnectionError(f"{self.where}: the connection was lost")
        return self._hook.explained(error, path, "change")
