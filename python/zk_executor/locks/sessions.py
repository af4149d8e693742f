# SPDX-License-Identifier: Apache-2.0
"""The ZooKeeper clients of this process: one for each connection, shared, and never across a fork.

Threads: any. ``shared_client`` and ``open_client`` block for the connection's ``connect_timeout``
at most; ``started_client`` only while Airflow tells the connection, in one thread for each.
Errors: those of the hook. Session: kazoo makes a new one when one has expired.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

from kazoo.client import KazooClient

from zk_executor.zk import waits
from zk_executor.zk.client import Client, note_session_timeout, session_timeout
from zk_executor.zk.handler import NoAnswer

if TYPE_CHECKING:
    from zk_executor.hooks.zookeeper import ZookeeperHook

__all__ = [
    "close_client",
    "close_shared_clients",
    "drop_unreachable",
    "note_session_timeout",
    "open_client",
    "session_timeout",
    "shared_client",
    "started_client",
    "unreachable",
]

Started = tuple["ZookeeperHook", Client]
_lock = threading.Lock()
_shared: dict[str, Future[Started]] = {}


def shared_client(conn_id: str) -> Client:
    """A client for the connection that is connected, the same for everybody in this process."""
    hook, client = started_client(conn_id)
    if (
        not client.wait_connected(waits.left(hook.login.connect_timeout))
        and not client.ever_connected
    ):
        drop_unreachable(conn_id, client)
        raise unreachable(hook)
    return client


def started_client(conn_id: str) -> Started:
    """The shared client and its hook; it may still have to connect."""
    with _lock:
        found = _shared.get(conn_id)
        mine = found is None or _is_over(found)
        if mine or found is None:
            found = _shared[conn_id] = Future()
    if mine:
        try:
            hook = _hook_of(conn_id)
            client = hook.new_client()
            client.start_async()
            found.set_result((hook, client))
        except BaseException as error:
            found.set_exception(error)
            raise
    return found.result()


def open_client(conn_id: str) -> Client:
    """A started client of the caller's own; close it with ``close_client``."""
    hook = _hook_of(conn_id)
    client = hook.new_client()
    client.start_async()
    if not client.wait_connected(waits.left(hook.login.connect_timeout)):
        client.end(wait=False)
        raise unreachable(hook)
    return client


def close_client(client: KazooClient) -> None:
    """Ends its session, and with it whatever is ephemeral."""
    if isinstance(client, Client):
        client.end()
        return
    client.stop()
    client.close()


def close_shared_clients() -> None:
    """Ends those of this process; who asks again gets a new one."""
    with _lock:
        found = list(_shared.values())
        _shared.clear()
    for one in found:
        if one.done() and one.exception() is None:
            one.result()[1].end()


def drop_unreachable(conn_id: str, client: Client) -> None:
    """Who asks next for the connection reads anew where it leads."""
    with _lock:
        found = _shared.get(conn_id)
        if found and found.done() and not found.exception() and found.result()[1] is client:
            del _shared[conn_id]
    client.end(wait=False)


def unreachable(hook: ZookeeperHook) -> Exception:
    """For a client that never had a connection."""
    return hook.explained(NoAnswer(), hook.login.chroot or "/", "connect to")


def _is_over(found: Future[Started]) -> bool:
    """Its beginning failed, or somebody stopped it."""
    if not found.done():
        return False
    return found.exception() is not None or found.result()[1]._stopped.is_set()


def _hook_of(conn_id: str) -> ZookeeperHook:
    from zk_executor.hooks.zookeeper import ZookeeperHook

    return ZookeeperHook(conn_id)


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    _shared.clear()


os.register_at_fork(after_in_child=_after_fork)
