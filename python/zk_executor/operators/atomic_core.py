# SPDX-License-Identifier: Apache-2.0
"""Atomic changes of znodes, over a started KazooClient, each done once.

A change is a transaction that also creates a marker, a node named after the change. When the reply
is lost the marker tells whether the change was made, so it is neither lost nor made twice; the
marker's own creation would refuse a second one. The reply brings the zxid with it; after a lost one
the marker's czxid is the same number. A marker is deleted when the change is known; one left
behind (the process died at that moment) is cleared by later changes when it is a day old.

Threads: one at a time. Blocks while ZooKeeper is away, until the deadline.
Errors: ZookeeperAtomicError (nothing was changed, unless it says that this is not known).
Session: makes no difference; nothing here is ephemeral.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from kazoo.client import KazooClient
from kazoo.exceptions import (
    BadVersionError,
    KazooException,
    NodeExistsError,
    NoNodeError,
    RolledBackError,
    RuntimeInconsistency,
)

from zk_executor.exceptions import ZookeeperError, explain_client
from zk_executor.locks.lock import check_path
from zk_executor.locks.turn import AWAY
from zk_executor.operators.atomic_errors import (
    ZookeeperAtomicConflict,
    ZookeeperAtomicError,
    ZookeeperAtomicUnknown,
)
from zk_executor.sizes import check_request, check_value

T = TypeVar("T")
Verb = Literal["create", "set", "delete", "check"]
MARKERS = "/zk_executor_markers"
_MARKER_KEEP_MS = 24 * 3600 * 1000
_ANSWER = 10.0


@dataclass(frozen=True)
class Operation:
    """One step of a transaction. version: the znode's must be this one; -1: any."""

    verb: Verb
    path: str
    value: bytes = b""
    version: int = -1


@dataclass(frozen=True)
class Change:
    """What a change came to. versions: by path, of what it created or set."""

    zxid: int
    versions: dict[str, int]


class Atomic:
    """See the module. conn_id is for messages."""

    def __init__(self, client: KazooClient, conn_id: str, timeout: float = 60.0) -> None:
        self._client = client
        self._conn_id = conn_id
        self._where = f"connection {conn_id}"
        self._timeout = timeout

    def read(self, path: str) -> tuple[bytes, int] | None:
        """Value and version; None if there is no such znode."""
        self._check(path)
        try:
            data, stat = self._ask(lambda: self._get(self._client.get_async(path)), path)
        except NoNodeError:
            return None
        return data, stat.version

    def apply(self, operations: Sequence[Operation]) -> Change:
        """All of them, or none. Errors: ZookeeperAtomicConflict names the first that did not fit.

        After a lost reply it is found out, not repeated.
        """
        for one in operations:
            self._check(one.path)
            self._refused_here(check_value, one.value, f"{one.verb} {one.path} ({self._where})")
        if not operations:
            raise ZookeeperAtomicError(f"a transaction without operations ({self._where})")
        marker = f"{MARKERS}/{uuid.uuid4().hex}"
        self._refused_here(
            check_request,
            self._transaction(operations, marker),
            f"{_told(operations)} ({self._where})",
            f"{len(operations)} operations",
            "Make them smaller, or fewer",
        )
        self._ask(lambda: self._client.ensure_path(MARKERS), MARKERS)
        results = self._commit(operations, marker)
        versions = {
            one.path: 0 if one.verb == "create" else one_version
            for one, one_version in zip(operations, results, strict=True)
            if one.verb in ("create", "set")
        }
        stat = self._ask(lambda: self._get(self._client.exists_async(marker)), marker)
        if stat is None:
            raise ZookeeperAtomicUnknown(
                f"{marker} ({self._where}) was deleted by somebody else: the change was made, "
                "but its zxid is not known"
            )
        # Best effort: a later change clears what stays behind.
        with suppress(KazooException, self._client.handler.timeout_exception):
            self._get(self._client.delete_async(marker))
        if random.random() < 0.01:
            self._clear_markers(stat.ctime)
        return Change(stat.czxid, versions)

    def compare_and_set(self, path: str, value: bytes, version: int) -> Change:
        return self.apply([Operation("set", path, value, version)])

    def create_if_absent(self, path: str, value: bytes) -> tuple[bool, Change | None]:
        """Whether this made it, with what came of that."""
        self._make_parents(path)
        try:
            return True, self.apply([Operation("create", path, value)])
        except ZookeeperAtomicConflict:
            if self.read(path) is None:
                raise
            return False, None

    def add(self, path: str, amount: int) -> tuple[int, Change]:
        """Adds to a counter, which begins at 0. Returns its new value."""
        self._make_parents(path)
        deadline = time.monotonic() + self._timeout
        while True:
            found = self.read(path)
            value = amount + (self._number(path, found[0]) if found else 0)
            text = str(value).encode()
            step = (
                Operation("set", path, text, found[1]) if found else Operation("create", path, text)
            )
            try:
                return value, self.apply([step])
            except ZookeeperAtomicConflict:
                # Somebody else was first, which is certain: nothing was changed.
                if time.monotonic() > deadline:
                    raise
                time.sleep(random.uniform(0, 0.02))

    def _number(self, path: str, data: bytes) -> int:
        try:
            return int(data.decode() or "0")
        except ValueError:
            raise ZookeeperAtomicError(
                f"{path} ({self._where}) is no counter: it holds {data[:40]!r}"
            ) from None

    def _commit(self, operations: Sequence[Operation], marker: str) -> list[int]:
        """The versions of what was set; 0 for the others."""
        deadline = time.monotonic() + self._timeout
        lost = False
        while True:
            try:
                results = self._get(self._transaction(operations, marker).commit_async())
            except (*AWAY, self._client.handler.timeout_exception) as error:
                lost = True
                if time.monotonic() > deadline:
                    raise ZookeeperAtomicUnknown(
                        f"{_told(operations)} ({self._where}): ZooKeeper is away ({error!r}). It "
                        f"is not known whether it was done; if it was, {marker} exists"
                    ) from error
                time.sleep(0.1)
                continue
            failed = [result for result in results if isinstance(result, Exception)]
            if not failed:
                return [getattr(result, "version", 0) for result in results[1:]]
            if lost and isinstance(results[0], NodeExistsError):
                return self._versions_after(operations)
            self._refuse([Operation("create", MARKERS), *operations], results)

    def _transaction(self, operations: Sequence[Operation], marker: str) -> Any:
        transaction = self._client.transaction()
        transaction.create(marker)
        for one in operations:
            if one.verb == "create":
                transaction.create(one.path, one.value)
            elif one.verb == "set":
                transaction.set_data(one.path, one.value, one.version)
            elif one.verb == "delete":
                transaction.delete(one.path, one.version)
            else:
                transaction.check(one.path, one.version)
        return transaction

    def _refused_here(self, check: Callable[..., Any], *arguments: Any) -> None:
        try:
            check(*arguments)
        except ZookeeperError as error:
            raise ZookeeperAtomicError(str(error)) from None

    def _versions_after(self, operations: Sequence[Operation]) -> list[int]:
        """The change was made, and its reply lost: what it came to, from what it was asked for."""
        versions = []
        for one in operations:
            version = one.version + 1
            if one.verb == "set" and one.version < 0:
                found = self.read(one.path)
                version = found[1] if found else 0
            versions.append(version if one.verb == "set" else 0)
        return versions

    def _refuse(self, operations: Sequence[Operation], results: Sequence[Any]) -> None:
        for one, result in zip(operations, results, strict=True):
            if not isinstance(result, Exception) or isinstance(
                result, RolledBackError | RuntimeInconsistency
            ):
                continue
            text = f"{one.verb} {one.path} ({self._where}): "
            if isinstance(result, BadVersionError):
                now = self.read(one.path)
                found = f"it is at {now[1]} now" if now else "it is gone now"
                raise ZookeeperAtomicConflict(
                    f"{text}version {one.version} is stale, {found}. Nothing was changed"
                )
            if isinstance(result, NodeExistsError):
                raise ZookeeperAtomicConflict(f"{text}it exists. Nothing was changed")
            if isinstance(result, NoNodeError):
                raise ZookeeperAtomicConflict(
                    f"{text}it, or its parent, does not exist. Nothing was changed"
                )
            raise self._explained(result, one.path, one.verb)
        raise ZookeeperAtomicError(
            f"{_told(operations)} ({self._where}): {results!r}. Nothing was changed"
        )

    def _make_parents(self, path: str) -> None:
        self._check(path)
        parent = path.rpartition("/")[0]
        if parent:
            self._ask(lambda: self._client.ensure_path(parent), parent)

    def _clear_markers(self, now_ms: int) -> None:
        with suppress(KazooException, self._client.handler.timeout_exception):
            for name in self._get(self._client.get_children_async(MARKERS))[:100]:
                stat = self._get(self._client.exists_async(f"{MARKERS}/{name}"))
                if stat and now_ms - stat.ctime > _MARKER_KEEP_MS:
                    self._get(self._client.delete_async(f"{MARKERS}/{name}"))

    def _check(self, path: str) -> None:
        check_path(path, "znode", self._where.removeprefix("connection "))

    def _get(self, result: Any) -> Any:
        return result.get(timeout=_ANSWER)

    def _ask(self, call: Callable[[], T], path: str) -> T:
        """For what may be repeated."""
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                return call()
            except (*AWAY, self._client.handler.timeout_exception) as error:
                if time.monotonic() > deadline:
                    raise ZookeeperAtomicError(
                        f"{path} ({self._where}): ZooKeeper is away ({error!r})"
                    ) from error
                time.sleep(0.1)
            except NoNodeError:
                raise
            except KazooException as error:
                raise self._explained(error, path, "read or make") from error

    def _explained(self, error: Exception, path: str, doing: str) -> ZookeeperAtomicError:
        explained = explain_client(
            error, self._client, conn_id=self._conn_id, path=path, doing=doing
        )
        return ZookeeperAtomicError(f"{explained}. Nothing was changed")


def _told(operations: Sequence[Operation]) -> str:
    return ", ".join(f"{one.verb} {one.path}" for one in operations[:5])
