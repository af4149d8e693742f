# SPDX-License-Identifier: Apache-2.0
"""Atomic changes, members, routing and election over real ZooKeeper servers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from kazoo.exceptions import ConnectionLoss
from zk_clients import Connect, clients, expire, set_connection, wait_until

from devstack import ZooKeeperEnsemble, ZooKeeperServer
from zk_executor import _core
from zk_executor.exceptions import ZookeeperError
from zk_executor.locks.sessions import close_shared_clients
from zk_executor.members import Member, MemberWatch, Registration, group_path, list_members
from zk_executor.members.member import ZookeeperClusterError
from zk_executor.operators.atomic import ZookeeperAtomicOperator
from zk_executor.operators.atomic_core import MARKERS, Atomic, Operation
from zk_executor.operators.atomic_errors import ZookeeperAtomicConflict, ZookeeperAtomicError
from zk_executor.operators.cluster import ZookeeperClusterOperator
from zk_executor.triggers.cluster import ZookeeperMembersTrigger


@pytest.fixture
def connect(zookeeper: ZooKeeperServer) -> Iterator[Connect]:
    with clients(zookeeper.hosts) as make:
        yield make


@pytest.fixture
def conn_id(zookeeper: ZooKeeperServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    yield set_connection(monkeypatch, zookeeper.hosts, "zookeeper_default")
    close_shared_clients()


class LosesReplies:
    """A client whose transactions lose every other reply, after they have been done."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._number = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def transaction(self) -> Any:
        self._number += 1
        transaction = self._client.transaction()
        if self._number % 2:
            commit = transaction.commit_async

            def lossy() -> Any:
                commit().get()
                lost = self._client.handler.async_result()
                lost.set_exception(ConnectionLoss())
                return lost

            transaction.commit_async = lossy
        return transaction


def test_a_change_whose_reply_is_lost_is_not_made_twice(connect: Connect) -> None:
    client = connect()
    atomic = Atomic(LosesReplies(client), "test")
    values = [atomic.add("/atomic/lossy", 2) for _ in range(10)]
    assert [value for value, _ in values] == list(range(2, 22, 2))
    assert [change.versions["/atomic/lossy"] for _, change in values] == list(range(10))
    assert client.get("/atomic/lossy")[0] == b"20"
    zxids = [change.zxid for _, change in values]
    assert zxids == sorted(set(zxids))
    assert client.get("/atomic/lossy")[1].mzxid == zxids[-1]
    assert client.get_children(MARKERS) == []


def test_a_counter_is_exact_while_the_leader_is_killed(session_folder: Path) -> None:
    with (
        ZooKeeperEnsemble(session_folder / "atomic-ensemble") as ensemble,
        clients(ensemble.hosts) as connect,
        ThreadPoolExecutor(4) as pool,
    ):

        def add(client: Any) -> list[int]:
            atomic = Atomic(client, "test")
            return [atomic.add("/atomic/counter", 1)[0] for _ in range(40)]

        futures = [pool.submit(add, connect(timeout=10)) for _ in range(4)]
        one = Atomic(connect(), "test")
        wait_until(lambda: int((one.read("/atomic/counter") or (b"0",))[0]) > 20, "some additions")
        leader = ensemble.leader()
        assert leader is not None
        leader.process.kill()
        seen = [value for future in futures for value in future.result(90)]
        assert sorted(seen) == list(range(1, 161))
        assert (one.read("/atomic/counter") or (b"",))[0] == b"160"


def test_what_does_not_fit_changes_nothing_and_says_why(connect: Connect) -> None:
    client = connect()
    atomic = Atomic(client, "ledger")
    atomic.create_if_absent("/atomic/a", b"1")
    assert atomic.create_if_absent("/atomic/a", b"2") == (False, None)
    change = atomic.compare_and_set("/atomic/a", b"2", 0)
    assert change.versions == {"/atomic/a": 1}
    with pytest.raises(ZookeeperAtomicConflict, match="set /atomic/a .*ledger.*it is at 1"):
        atomic.compare_and_set("/atomic/a", b"3", 0)
    with pytest.raises(ZookeeperAtomicConflict, match="check /atomic/none .*does not exist"):
        atomic.apply([Operation("set", "/atomic/a", b"9"), Operation("check", "/atomic/none")])
    with pytest.raises(ZookeeperAtomicConflict, match="create /atomic/a .*it exists"):
        atomic.apply([Operation("set", "/atomic/a", b"9"), Operation("create", "/atomic/a")])
    with pytest.raises(ZookeeperAtomicError, match="more than a znode takes"):
        atomic.apply([Operation("set", "/atomic/a", b"9" * 1_100_000)])
    with pytest.raises(ZookeeperError, match="is no path"):
        atomic.apply([Operation("set", "atomic/a", b"9")])
    client.set("/atomic/a", b"text")
    with pytest.raises(ZookeeperAtomicError, match="is no counter"):
        atomic.add("/atomic/a", 1)
    assert client.get("/atomic/a")[0] == b"text"
    assert client.get_children(MARKERS) == []


def test_the_atomic_operator_returns_versions_and_zxid(connect: Connect, conn_id: str) -> None:
    client = connect()

    def run(**arguments: Any) -> dict[str, Any]:
        operator = ZookeeperAtomicOperator(task_id="atomic", **arguments)
        return ZookeeperAtomicOperator.execute.__wrapped__(operator, {})  # type: ignore[attr-defined,no-any-return]

    made = run(action="create_if_absent", path="/operator/a", value="1")
    assert made["created"] and made["version"] == 0
    again = run(action="create_if_absent", path="/operator/a", value="2")
    assert again == {"created": False, "value": "1", "version": 0, "zxid": None}
    added = run(action="add", path="/operator/a", amount="5")
    assert (added["value"], added["version"]) == (6, 1)
    assert added["zxid"] == client.get("/operator/a")[1].mzxid > made["zxid"]
    both = run(
        action="transaction",
        operations=[
            {"verb": "check", "path": "/operator/a", "version": 1},
            {"verb": "create", "path": "/operator/b", "value": "x"},
        ],
    )
    assert both["versions"] == {"/operator/b": 0}
    for wrong in (
        {"action": "nothing"},
        {"action": "compare_and_set", "path": "/operator/a", "value": "1"},
        {"action": "add", "path": "/operator/a", "amount": "much"},
        {"action": "transaction", "operations": [{"verb": "rename", "path": "/operator/a"}]},
    ):
        with pytest.raises(ZookeeperAtomicError):
            run(**wrong)


def test_a_member_is_back_after_its_session_was_lost(
    zookeeper: ZooKeeperServer, connect: Connect
) -> None:
    seen: list[set[str]] = []
    mine, other = connect(), connect()
    with (
        MemberWatch(other, "service", lambda members: seen.append(set(members))) as watch,
        Registration(mine, "service", Member("one", "host-1", 4, ("q",))) as registration,
    ):
        wait_until(lambda: "one" in watch.members, "the member")
        with pytest.raises(ZookeeperClusterError, match="another living member"):
            Registration(other, "service", Member("one")).start()
        expire(zookeeper.hosts, mine)
        wait_until(
            lambda: (
                (stat := other.exists(registration.path))
                and stat.ephemeralOwner == mine.client_id[0]
            ),
            "the member's new session",
        )
        wait_until(lambda: set() in seen and seen[-1] == {"one"}, "the watch to have seen it")
        registration.update(state="draining")
        wait_until(lambda: watch.members["one"].state == "draining", "the state")
        registration.stop()
        registration.stop()
        wait_until(lambda: not watch.members, "the member to have left")


def run_cluster(**arguments: Any) -> Any:
    operator = ZookeeperClusterOperator(task_id="cluster", **arguments)
    return ZookeeperClusterOperator.execute.__wrapped__(operator, {})  # type: ignore[attr-defined]


def test_keys_are_routed_on_the_executors_ring(connect: Connect, conn_id: str) -> None:
    client = connect()
    keys = [f"key {number}" for number in range(500)]
    members = [Member(f"node-{number}", slots=4, queues=("a",)) for number in range(4)]
    registrations = [Registration(client, "ring", member) for member in members]
    for registration in registrations:
        registration.start()
    listed = run_cluster(action="members", group="ring")
    assert [row["name"] for row in listed] == ["node-0", "node-1", "node-2", "node-3"]
    owners = run_cluster(action="route", group="ring", keys=keys)
    expected = _core.ring_preference(nodes=[(m.name, 4) for m in members], keys=keys, count=1)
    assert list(owners.values()) == expected
    report = run_cluster(action="distribution", group="ring", keys=keys, serving="a")
    assert sum(row["keys"] for row in report) == 500
    assert all(0.3 < row["of_fair_share"] < 2 for row in report)
    registrations[0].update(state="draining")
    moved = run_cluster(action="route", group="ring", keys=keys)
    stayed = [key for key in keys if moved[key] == owners[key]]
    assert stayed == [key for key in keys if owners[key] != ["node-0"]], "nobody else's moved"
    assert run_cluster(action="route", group="ring", keys=["x"], serving="none") == {"x": []}
    for registration in registrations:
        registration.stop()
    assert list_members(client, "ring") == {}


def test_one_of_several_contenders_is_elected(conn_id: str) -> None:
    ran: list[int] = []

    def stand(number: int) -> dict[str, Any]:
        return run_cluster(  # type: ignore[no-any-return]
            action="elect",
            path="/elections/report",
            key="monday",
            python_callable=lambda: ran.append(number) or number,
        )

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(stand, range(8)))
    assert len(ran) == 1
    assert [result["result"] for result in results if result["elected"]] == ran
    with pytest.raises(ZookeeperClusterError, match="needs a path"):
        run_cluster(action="elect")


def test_the_sensors_trigger_fires_when_enough_members_are_there_and_when_one_is_gone(
    connect: Connect, conn_id: str
) -> None:
    client = connect()

    async def first(trigger: ZookeeperMembersTrigger) -> Any:
        async for event in trigger.run():
            return event.payload

    async def scenario() -> None:
        path = group_path("sensed")
        two = asyncio.create_task(
            first(ZookeeperMembersTrigger(conn_id=conn_id, path=path, at_least=2))
        )
        one = Registration(client, "sensed", Member("one"))
        other = Registration(client, "sensed", Member("other"))
        await asyncio.to_thread(one.start)
        done, _ = await asyncio.wait([two], timeout=0.2)
        assert not done
        await asyncio.to_thread(other.start)
        assert (await asyncio.wait_for(two, 30))["members"] == ["one", "other"]
        gone = asyncio.create_task(
            first(ZookeeperMembersTrigger(conn_id=conn_id, path=path, member="one", present=False))
        )
        await asyncio.to_thread(one.stop)
        assert (await asyncio.wait_for(gone, 30))["members"] == ["other"]
        await asyncio.to_thread(other.stop)

    asyncio.run(scenario())
