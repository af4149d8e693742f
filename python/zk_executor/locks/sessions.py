# SPDX-License-Identifier: Apache-2.0
"""The ZooKeeper clients of this process: one for each connection, shared, and never across a fork.

Threads: any. ``shared_client`` blocks while it connects; call it in a thread of its own from a
trigger. Errors: those of the hook. Session: kazoo makes a new one when one has expired.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from kazoo.client import KazooClient

from zk_executor.exceptions import explain

_lock = threading.Lock()
_clients: dict[tuple[int, str], KazooClient] = {}
_NEGOTIATED = "_zk_executor_negotiated_ms"


def shared_client(conn_id: str) -> KazooClient:
    """A started client for the connection, the same for everybody in this process."""
    key = (os.getpid(), conn_id)
    with _lock:
        client = _clients.get(key)
        if client is None or client._stopped.is_set():
            client = _clients[key] = open_client(conn_id)
        return client


def open_client(conn_id: str) -> KazooClient:
    """A started client of the caller's own; close it with ``close_client``."""
    from zk_executor.hooks.zookeeper import ZookeeperHook

    hook = ZookeeperHook(conn_id)
    client = note_session_timeout(hook.new_client())
    try:
        client.start(timeout=hook.login.connect_timeout)
    except Exception as error:
        close_client(client)
        raise explain(
            error,
            conn_id=conn_id,
            hosts=hook.login.address,
            path="/",
            doing="connect to",
            login=hook.login.user,
        ) from error
    return client


def close_client(client: KazooClient) -> None:
    """Ends its session, and with it whatever is ephemeral."""
    client.stop()
    client.close()


def close_shared_clients() -> None:
    """Ends those of this process; who asks again gets a new one."""
    with _lock:
        for (pid, _), client in list(_clients.items()):
            if pid == os.getpid():
                close_client(client)
        _clients.clear()


def note_session_timeout(client: KazooClient) -> KazooClient:
    """Has a client that is not started yet remember what the server makes of its timeout.

    kazoo keeps the number to itself: its connection returns two thirds of it.
    """
    connect = client._connection._connect

    def noting(*args: Any) -> Any:
        read_timeout, connect_timeout = connect(*args)
        setattr(client, _NEGOTIATED, read_timeout * 1.5)
        return read_timeout, connect_timeout

    client._connection._connect = noting
    return client


def session_timeout(client: KazooClient) -> float:
    """Seconds after which the server gives the session up: what was negotiated, or asked for."""
    asked = client._session_timeout
    return float(getattr(client, _NEGOTIATED, asked)) / 1000.0
