# SPDX-License-Identifier: Apache-2.0
"""Barriers at their edges: rounds that nobody needs any more, outages, what messages say."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError
from zk_clients import Connect, clients, set_connection, wait_until

from devstack import ZooKeeperServer
from zk_executor.locks import sweep, zk_barrier, zk_lock
from zk_executor.locks.errors import ZookeeperLockError, ZookeeperLockTimeout
from zk_executor.locks.sessions import close_shared_clients, shared_client
from zk_executor.triggers import barrier as triggers
from zk_executor.triggers import waiting
from zk_executor.triggers.barrier import ZookeeperBarrierTrigger
from zk_executor.zk.client import Client


@pytest.fixture
def connect(zookeeper: ZooKeeperServer) -> Iterator[Connect]:
    with clients(zookeeper.hosts) as make:
        yield make


@pytest.fixture
def conn_id(zookeeper: ZooKeeperServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    yield set_connection(monkeypatch, zookeeper.hosts)
    close_shared_clients()


def make_round(client: KazooClient, path: str, parties: int, **options: Any) -> None:
    client.ensure_path(f"{path}/parties")
    for number in range(parties):
        client.create(f"{path}/parties/p{number}", b"{}", **options)


def tick(client: KazooClient) -> None:
    """Returns when the server's clock is another one."""
    client.ensure_path("/clock")
    before = client.set("/clock", b"").mtime
    wait_until(lambda: client.set("/clock", b"").mtime > before, "a millisecond to pass")


def test_a_round_that_never_opened_is_swept_when_nobody_waits_in_it(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time is measured against the moment at which one of them was renewed."""
    client, path = connect(), "/barriers/swept"
    for name, parties in (("empty", 0), ("left", 3), ("many", 1201), ("renewed", 3)):
        make_round(client, f"{path}/{name}", parties)
    client.ensure_path(f"{path}/begun")  # whoever made it died before its next step
    make_round(client, f"{path}/in-a-slot", 1, ephemeral=True)
    make_round(client, f"{path}/opened", 2)
    client.create(f"{path}/opened/open")
    tick(client)
    renewed = client.set(f"{path}/renewed/parties/p1", b"{}").mtime
    make_round(client, f"{path}/young", 1)
    client.create(f"{path}/new")
    now = client.exists(f"{path}/new").ctime
    monkeypatch.setattr(sweep, "UNOPENED_KEPT_MS", now - renewed)
    sweep.sweep(client, path, f"{path}/new")
    left = ["in-a-slot", "new", "opened", "renewed", "young"]
    assert sorted(client.get_children(path)) == left
    assert len(client.get_children(f"{path}/renewed/parties")) == 3
    monkeypatch.setattr(sweep, "OPEN_KEPT_MS", -1)
    sweep.sweep(client, path, f"{path}/new")
    assert sorted(client.get_children(path)) == [name for name in left if name != "opened"]


def test_a_new_round_sweeps_and_a_party_that_comes_at_that_moment_has_come(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every round is as good as old: each that begins sweeps the others, which then begin anew."""
    monkeypatch.setattr(sweep, "UNOPENED_KEPT_MS", -(10**9))
    path = "/barriers/raced"
    passed: list[tuple[int, int]] = []

    def go(key: int, party: int, client: KazooClient) -> None:
        zk_barrier(path, 3, key=str(key), client=client, timeout=60).wait()
        passed.append((key, party))

    threads = [
        threading.Thread(target=go, args=(key, party, connect()))
        for key in range(4)
        for party in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert len(passed) == len(threads)


def test_a_deferred_party_shows_that_it_still_waits(
    conn_id: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triggers, "RENEWED_AFTER", 0.0)
    monkeypatch.setattr(waiting, "RECHECK", 0.01)
    client, path = connect(), "/barriers/deferred/round"
    make_round(client, path, 1)
    trigger = ZookeeperBarrierTrigger(conn_id=conn_id, round_path=path, owner="p0", parties=2)

    async def main() -> Any:
        waits = asyncio.create_task(anext(trigger.run()))

        def renewed() -> bool:
            return client.exists(f"{path}/parties/p0").version > 2

        await asyncio.to_thread(wait_until, renewed, "the party to be renewed")
        assert client.get(f"{path}/parties/p0")[0] == b"{}"
        await asyncio.to_thread(client.create, f"{path}/open")
        return await asyncio.wait_for(waits, 60)

    assert asyncio.run(main()).payload == {"status": "open"}


def test_waiting_ends_with_its_timeout_in_an_outage(own_zookeeper: ZooKeeperServer) -> None:
    client = Client(hosts=own_zookeeper.hosts, timeout=6.0)
    client.start(30)
    plain = KazooClient(own_zookeeper.hosts, timeout=6.0)
    plain.start()
    own_zookeeper.stop()
    wait_until(lambda: not (client.connected or plain.connected), "the outage to be seen")
    for one in (client, plain):
        for contender in (
            zk_barrier("/b", 2, key="k", client=one, timeout=0.2),
            zk_lock("/l", client=one, timeout=0.2),
        ):
            ended: list[BaseException] = []

            def wait(contender: Any = contender, ended: list[BaseException] = ended) -> None:
                try:
                    contender.__enter__()
                except BaseException as error:
                    ended.append(error)

            thread = threading.Thread(target=wait, daemon=True)
            thread.start()
            thread.join(60)
            assert ended, "it waits for longer than its timeout"
            assert isinstance(ended[0], ZookeeperLockTimeout)
            assert "a client that was given" in str(ended[0]) and "default" not in str(ended[0])
    client.end()
    own_zookeeper.start()
    plain.stop()
    plain.close()


def test_a_message_names_the_connection_or_says_that_a_client_was_given(
    conn_id: str, connect: Connect
) -> None:
    given = connect()
    for options, says in (
        ({"client": given}, "a client that was given"),
        ({"conn_id": conn_id}, "connection zk_test"),
    ):
        for contender in (
            zk_barrier("/told/barrier", 2, key="k", timeout=0.01, **options),
            zk_lock("/told/lock", timeout=0.01, **options),
        ):
            with zk_lock("/told/lock", client=given), pytest.raises(ZookeeperLockError) as caught:
                contender.__enter__()
            assert says in str(caught.value) and "zookeeper_default" not in str(caught.value)
    with pytest.raises(NoNodeError):
        shared_client(conn_id).get("/not-there")
