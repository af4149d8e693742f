# SPDX-License-Identifier: Apache-2.0
"""kazoo clients for tests: started, closed after the test, and expired on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kazoo.client import KazooClient

from devstack import wait_until as wait_with_timeout
from zk_executor.locks.sessions import close_client, note_session_timeout

Connect = Callable[..., KazooClient]


def wait_until(condition: Callable[[], Any], what: str) -> None:
    """Until it is so, for a generous time."""
    wait_with_timeout(condition, what, timeout=60)


@contextmanager
def clients(hosts: str) -> Iterator[Connect]:
    """A function that makes started clients; all are closed at the end."""
    made: list[KazooClient] = []

    def connect(timeout: float = 6.0) -> KazooClient:
        client = note_session_timeout(KazooClient(hosts=hosts, timeout=timeout))
        made.append(client)
        client.start(timeout=30)
        return client

    yield connect
    for client in made:
        close_client(client)


def expire(hosts: str, client: KazooClient) -> None:
    """Ends the session of a client for real, while it goes on: a second one takes it and closes."""
    session = client.client_id
    thief = KazooClient(hosts=hosts, client_id=session)
    thief.start(timeout=30)
    close_client(thief)
    wait_until(
        lambda: client.client_id not in (None, session), "the client to have another session"
    )
