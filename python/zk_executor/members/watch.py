# SPDX-License-Identifier: Apache-2.0
"""Sees who is in a group, at once and whenever it changes.

Threads: ``members`` from any; ``on_change`` is called in a thread of this watch, never twice at a
time. Errors: ZookeeperClusterError from ``list_members``; a watch logs it and looks again.
Session: while ZooKeeper is away the last known members stand; they are read again afterwards.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NoNodeError

from zk_executor.exceptions import explain_client
from zk_executor.members.member import Member, ZookeeperClusterError, group_path
from zk_executor.zk import waits

log = logging.getLogger(__name__)
_RECHECK = 60.0
# Seconds for one answer; a lost connection is told earlier.
ANSWER = 15.0


def list_members(
    client: KazooClient, group: str, watch: Callable[[Any], None] | None = None
) -> dict[str, Member]:
    """The members by name, now; ``watch`` is called once at the next change."""
    path = group_path(group)
    try:
        return _listed(client, path, watch)
    except (KazooException, client.handler.timeout_exception) as error:
        explained = explain_client(error, client, conn_id=None, path=path, doing="list")
        raise ZookeeperClusterError(str(explained)) from error


def _listed(
    client: KazooClient, path: str, watch: Callable[[Any], None] | None
) -> dict[str, Member]:
    try:
        names = client.get_children(path, watch=watch)
    except NoNodeError:
        client.ensure_path(path)
        names = client.get_children(path, watch=watch)

    def ask(name: str) -> Any:
        return client.get_async(f"{path}/{name}", watch=watch)

    members = {}
    for name, result in waits.pipelined(ask, sorted(names)):
        with suppress(NoNodeError):  # it has left in between
            members[name] = Member.decode(name, waits.answer_of(result, ANSWER)[0])
    return members


class MemberWatch:
    """``with MemberWatch(client, "group", on_change) as watch: watch.members``."""

    def __init__(
        self,
        client: KazooClient,
        group: str,
        on_change: Callable[[Mapping[str, Member]], None] | None = None,
    ) -> None:
        self._client = client
        self._group = group
        self._on_change = on_change
        self._members: dict[str, Member] = {}
        self._wake = threading.Event()
        self._running = False
        self._thread: threading.Thread | None = None

    @property
    def members(self) -> Mapping[str, Member]:
        return self._members

    def start(self) -> None:
        """Returns when the members have been read once."""
        self._members = list_members(self._client, self._group, self._changed)
        self._running = True
        self._client.add_listener(self._changed)
        self._thread = threading.Thread(
            target=self._run, name=f"zk members {self._group}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        self._running = False
        self._client.remove_listener(self._changed)
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def __enter__(self) -> MemberWatch:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        while self._running:
            self._wake.wait(_RECHECK)
            self._wake.clear()
            if not self._running:
                return
            try:
                found = list_members(self._client, self._group, self._changed)
            except ZookeeperClusterError as error:
                log.warning("Members of %s are as last known: %s", self._group, error)
                continue
            if found != self._members:
                self._members = found
                if self._on_change is not None:
                    self._on_change(found)

    def _changed(self, _: Any) -> None:
        self._wake.set()
