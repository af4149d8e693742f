# SPDX-License-Identifier: Apache-2.0
"""kazoo clients and hooks for tests: closed after the test, clients expired on demand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from kazoo.client import KazooClient

from devstack import wait_until as wait_with_timeout
from zk_executor.hooks.login import Login
from zk_executor.hooks.zookeeper import ZookeeperHook
from zk_executor.locks.sessions import close_client, note_session_timeout

Connect = Callable[..., KazooClient]
MakeHook = Callable[..., ZookeeperHook]


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


@contextmanager
def hooks(hosts: str) -> Iterator[MakeHook]:
    """A function that makes hooks with a connection of the name "test"; all are closed at the end.

    Its arguments are fields of the login, which may be of other hosts.
    """
    made: list[ZookeeperHook] = []

    def make(hosts: str = hosts, **fields: Any) -> ZookeeperHook:
        login = replace(Login("test", hosts, operation_timeout=60), **fields)
        made.append(ZookeeperHook("test", login=login))
        return made[-1]

    yield make
    for hook in made:
        hook.close()


def set_connection(monkeypatch: pytest.MonkeyPatch, hosts: str, conn_id: str = "zk_test") -> str:
    """A connection that operators, sensors and triggers find; its name."""
    fields = {"conn_type": "zookeeper", "host": hosts}
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))
    return conn_id


def expire(hosts: str, client: KazooClient) -> None:
    """Ends the session of a client for real, while it goes on: a second one takes it and closes."""
    session = client.client_id
    thief = KazooClient(hosts=hosts, client_id=session)
    thief.start(timeout=30)
    close_client(thief)
    wait_until(
        lambda: client.client_id not in (None, session), "the client to have another session"
    )
