# SPDX-License-Identifier: Apache-2.0
"""Shows a service as a member of a group for as long as it lives.

Threads: ``start``, ``update`` and ``stop`` from any one; registering again after a lost session is
done in a thread of kazoo's. Errors: ZookeeperClusterError from ``start``.
Session: the node ends with it, and is made again in the next one, which kazoo opens by itself.
While ZooKeeper has not heard of the service for a session's timeout, others see it as gone.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from dataclasses import replace
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NodeExistsError, NoNodeError

from zk_executor.exceptions import ZookeeperError, explain_client
from zk_executor.members.member import (
    Member,
    ZookeeperClusterError,
    check_name,
    group_path,
    slots_problem,
)
from zk_executor.sizes import check_value

log = logging.getLogger(__name__)


class Registration:
    """``with Registration(client, "group", Member("name")):`` the member is there.

    Borrows the client, which is started and must outlive it.
    """

    def __init__(self, client: KazooClient, group: str, member: Member) -> None:
        self._client = client
        self._member = replace(member, name=check_name("member", member.name))
        self._group = group_path(group)
        self.path = f"{self._group}/{member.name}"
        self._lock = threading.Lock()
        self._running = False
        self._encoded(self._member)

    @property
    def member(self) -> Member:
        return self._member

    def start(self) -> None:
        """Registers. Errors: ZookeeperClusterError if somebody else lives under that name."""
        self._running = True
        try:
            self._register(patient=False)
        except BaseException:
            self._running = False
            raise
        self._client.add_listener(self._on_state)

    def update(self, **changes: Any) -> None:
        """Shows a changed state, slots, queues, host or facts. Errors: ZookeeperClusterError."""
        with self._lock:
            changed = replace(self._member, **changes)
            data = self._encoded(changed)
            self._member = changed
            # Without a node the session has just ended, and it is registered again as it is now.
            with suppress(NoNodeError):
                self._client.retry(self._client.set, self.path, data)

    def _encoded(self, member: Member) -> bytes:
        """What stands in the node. Errors: ZookeeperClusterError for what no reader takes."""
        if problem := slots_problem(member.slots):
            raise ZookeeperClusterError(f"{self.path}: {problem}")
        try:
            return check_value(member.encode(), self.path)
        except (TypeError, ValueError, ZookeeperError) as error:
            raise ZookeeperClusterError(f"{self.path}: it cannot be shown: {error}") from None

    def stop(self) -> None:
        """Leaves the group; nothing happens if it has left."""
        if not self._running:
            return
        self._client.remove_listener(self._on_state)
        with self._lock:
            self._running = False
            try:
                stat = self._client.exists(self.path)
                session = self._client.client_id
                if stat and session and stat.ephemeralOwner == session[0]:
                    self._client.delete(self.path)
            except KazooException as error:
                log.warning("%s stays until its session ends: %r", self.path, error)

    def __enter__(self) -> Registration:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _register(self, *, patient: bool) -> None:
        with self._lock:
            while self._running:
                try:
                    self._client.retry(
                        self._client.create,
                        self.path,
                        self._encoded(self._member),
                        ephemeral=True,
                        makepath=True,
                    )
                    return
                except NodeExistsError:
                    if self._is_ours():
                        return
                    # After a lost session the old node may live for a moment.
                    gone = threading.Event()
                    there = self._client.exists(self.path, watch=lambda _, e=gone: e.set())
                    if there is None:
                        continue
                    if not patient and not gone.wait(self._client._session_timeout / 1000.0):
                        raise ZookeeperClusterError(
                            f"{self.path}: another living member has that name"
                        ) from None
                    gone.wait(60.0)
                except KazooException as error:
                    explained = explain_client(
                        error, self._client, conn_id=None, path=self.path, doing="register at"
                    )
                    raise ZookeeperClusterError(str(explained)) from error

    def _is_ours(self) -> bool:
        stat = self._client.exists(self.path)
        session = self._client.client_id
        return bool(stat and session and stat.ephemeralOwner == session[0])

    def _on_state(self, state: str) -> None:
        # Also after a connection that was only suspended: the node may or may not be there.
        if state == "CONNECTED":
            self._client.handler.spawn(self._again)

    def _again(self) -> None:
        try:
            self._register(patient=True)
        except (ZookeeperClusterError, KazooException) as error:
            log.error("Could not register %s again: %r", self.path, error)
