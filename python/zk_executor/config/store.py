# SPDX-License-Identifier: Apache-2.0
"""A configuration tree in ZooKeeper, with its versions.

    ROOT                          value of the key ""
    ROOT/db/port                  value of the key db/port
    ROOT/.config-history          head: the revision, as JSON; its version guards every change
    ROOT/.config-history/r…7      record of revision 7: who, when, why, values from before

Each change, its record and the head are one transaction: readers of ``read`` see it whole or not.
Threads: one at a time. Errors: those of the hook; nothing is half done with any of them.
Session: none is needed for what is kept. After a lost connection ``commit`` looks whether its
change arrived, by the record's id, before it tries again.
"""

from __future__ import annotations

import functools
import json
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, TypeVar

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
    VALUE_BYTES_MAX,
    ZookeeperConnectionError,
    ZookeeperError,
    ZookeeperNotFound,
    ZookeeperStaleVersion,
    ZookeeperValueTooLarge,
    check_path,
    check_value,
)
from zk_executor.hooks.zookeeper import ZookeeperHook
from zk_executor.zk import waits

F = TypeVar("F", bound=Callable[..., Any])
HISTORY_MAX = 100
_PRUNED_AT_ONCE = 10
_OPERATION_BYTES = 64


@dataclass(frozen=True)
class Snapshot:
    """A tree as it was at one moment. ``head`` is the head's version, None if there is no head."""

    revision: int
    head: int | None
    tree: Tree
    versions: dict[str, int]


def _in_time(method: F) -> F:
    """Of all that a method asks for, together, the connection's operation_timeout is the limit."""

    @functools.wraps(method)
    def limited(self: ConfigStore, *args: Any, **kwargs: Any) -> Any:
        with self._hook.within_timeout():
            return method(self, *args, **kwargs)

    return limited  # type: ignore[return-value]


class ConfigStore:
    """The tree below ``root``. Each method ends in operation_timeout, or with an error."""

    def __init__(self, hook: ZookeeperHook, root: str, *, history_max: int = HISTORY_MAX) -> None:
        self.root = check_path(root, conn_id=hook.conn_id)
        self._hook = hook
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
        return self._read_head()[0]

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
                revision, head = before
                return Snapshot(
                    revision,
                    head,
                    {key: data for key, (data, _) in nodes.items()},
                    {key: version for key, (_, version) in nodes.items()},
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

        ``unchanged``: keys that must still be as they were seen. Errors: ZookeeperStaleVersion if
        the tree is no longer what ``seen`` says, ZookeeperValueTooLarge.
        """
        changes = list(changes)
        if not changes:
            return seen.revision
        entry = Record(
            revision=seen.revision + 1,
            id=uuid.uuid4().hex,
            when=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            author=author,
            comment=comment,
            before=records.before_of(changes),
        )
        data = entry.encode()
        self._check_size(changes, data)
        extra = self._missing_ancestors(), self._outdated(seen)
        deadline = time.monotonic() + self._hook.login.operation_timeout
        lost = False
        while True:
            try:
                self._transact(seen, changes, entry, data, unchanged, *extra)
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
    def history(self, limit: int = HISTORY_MAX) -> list[Record]:
        """The records, newest first."""
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

    def _read_head(self) -> tuple[int, int | None]:
        try:
            data, stat = self._hook.call("get", self.head_path)
        except ZookeeperNotFound:
            return 0, None
        try:
            return int(json.loads(data)["revision"]), stat.version
        except (ValueError, KeyError, TypeError):
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

    def _check_size(self, changes: list[Change], data: bytes) -> None:
        size = len(data)
        for change in changes:
            path = self.path_of(change.key)
            value = check_value(change.after or b"", conn_id=self._hook.conn_id, path=path)
            size += len(value) + len(path.encode()) + _OPERATION_BYTES
        if size > VALUE_BYTES_MAX:
            raise ZookeeperValueTooLarge(
                f"{self.where}: {len(changes)} changes take {size} bytes with what is kept to "
                f"undo them; one transaction takes {VALUE_BYTES_MAX}. Nothing was done. Split "
                "the tree, or change it in parts"
            )

    def _missing_ancestors(self) -> list[str]:
        parts = self.root.split("/")[1:-1]
        above = ["/" + "/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        return [path for path in above if self._hook.call("exists", path) is None]

    def _outdated(self, seen: Snapshot) -> list[str]:
        if seen.head is None:
            return []
        oldest = records.name_of(max(0, seen.revision + 1 - self._history_max))
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

    def _transact(
        self,
        seen: Snapshot,
        changes: list[Change],
        entry: Record,
        data: bytes,
        unchanged: Iterable[str],
        ancestors: list[str],
        outdated: list[str],
    ) -> None:
        client = self._hook.get_conn()
        paths: list[str] = []

        def build() -> Any:
            transaction = client.transaction()
            paths.clear()

            def add(operation: Callable[..., None], path: str, *args: Any) -> None:
                operation(path, *args)
                paths.append(path)

            for path in ancestors:
                add(transaction.create, path)
            for key in unchanged:
                add(transaction.check, self.path_of(key), seen.versions[key])
            for change in changes:
                path = self.path_of(change.key)
                if change.after is None:
                    add(transaction.delete, path, seen.versions[change.key])
                elif change.before is None:
                    add(transaction.create, path, change.after)
                else:
                    add(transaction.set_data, path, change.after, seen.versions[change.key])
            head = json.dumps({"revision": entry.revision}).encode()
            if seen.head is None:
                add(transaction.create, self.head_path, head)
            else:
                add(transaction.set_data, self.head_path, head, seen.head)
            add(transaction.create, f"{self.head_path}/{records.name_of(entry.revision)}", data)
            for name in outdated:
                add(transaction.delete, f"{self.head_path}/{name}")
            return transaction.commit_async()

        results = self._hook.await_result(build, self.root, "change", repeat=False)
        for path, result in zip(paths, results, strict=False):
            if isinstance(result, KazooException) and not isinstance(
                result, (RolledBackError, RuntimeInconsistency)
            ):
                raise self._refused(path, result, seen)

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
