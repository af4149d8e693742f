# SPDX-License-Identifier: Apache-2.0
"""The leader of three ZooKeeper servers is killed in the middle of each operation for DAGs.

All go on at the same time, several rounds before the leader dies and several after it. What
configuration, plain locks and single counters do then is tested where those are.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient
from zk_clients import clients, wait_until

from devstack import ZooKeeperEnsemble
from zk_executor.locks import zk_barrier, zk_read_lock, zk_semaphore, zk_write_lock
from zk_executor.locks.errors import ZookeeperLockLost
from zk_executor.members import Member, MemberWatch, Registration, list_members
from zk_executor.operators.atomic_core import Atomic, Operation
from zk_executor.operators.atomic_errors import ZookeeperAtomicConflict
from zk_executor.operators.cluster import ZookeeperClusterOperator

ROUNDS = 6  # before the leader is killed, and after it
LEASES = 2


class Scene:
    """Who has done how many rounds, and whether the leader is dead already."""

    def __init__(self) -> None:
        self.rounds: Counter[str] = Counter()
        self.killed = threading.Event()
        self.lost = 0  # locks; told so to their holders, in time
        self._lock = threading.Lock()

    def repeat(self, name: str, work: Callable[[int], Any]) -> None:
        """Rounds until enough of them began after the leader's death."""
        after = 0
        while after < ROUNDS:
            after += self.killed.is_set()
            try:
                work(self.rounds[name])
            except ZookeeperLockLost:
                with self._lock:
                    self.lost += 1
            self.rounds[name] += 1


class Together:
    """How many are inside at the same time."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.now -= 1


def transfer(atomic: Atomic, moved: list[int], _: int) -> None:
    """Moves one from an account to the other, if nobody was faster."""
    (left, left_version), (right, right_version) = (
        atomic.read(f"/leader/{name}") or (b"", -1) for name in ("left", "right")
    )
    try:
        atomic.apply(
            [
                Operation("set", "/leader/left", str(int(left) - 1).encode(), left_version),
                Operation("set", "/leader/right", str(int(right) + 1).encode(), right_version),
            ]
        )
        moved.append(1)
    except ZookeeperAtomicConflict:
        pass


def test_every_operation_keeps_its_promise_while_the_leader_is_killed(
    session_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene()
    semaphore, readers, writers = Together(), Together(), Together()
    mixed: list[str] = []  # a reader and a writer, or two writers, at the same time
    moved: list[int] = []
    ran: Counter[int] = Counter()  # by election, how many ran
    believed: dict[int, set[str]] = {}
    arrived: Counter[int] = Counter()
    early: list[int] = []  # rounds in which a barrier opened before all had come
    last_round: list[int] = []

    def hold(client: KazooClient, _: int) -> None:
        with zk_semaphore("/leader/semaphore", LEASES, client=client, on_lost="flag"), semaphore:
            pass

    def read(client: KazooClient, _: int) -> None:
        with zk_read_lock("/leader/rw", client=client, on_lost="flag"), readers:
            mixed.extend(["reader"] * writers.now)

    def write(client: KazooClient, _: int) -> None:
        with zk_write_lock("/leader/rw", client=client, on_lost="flag"), writers:
            mixed.extend(["writer"] * (readers.now + writers.now - 1))

    def elect(number: int) -> None:
        operator = ZookeeperClusterOperator(
            task_id="elect",
            action="elect",
            path="/leader/elections",
            key=str(number),
            python_callable=lambda: ran.update([number]),
        )
        told = ZookeeperClusterOperator.execute.__wrapped__(operator, {})  # type: ignore[attr-defined]
        believed.setdefault(number, set()).add(str(told["by"]))

    def meet(client: KazooClient, leads: bool) -> None:
        number = 0
        while not (last_round and number > last_round[0]):
            if leads and scene.killed.is_set() and not last_round:
                last_round.append(number + ROUNDS)  # before the others can be in that round
            arrived[number] += 1
            zk_barrier("/leader/barrier", 3, key=str(number), client=client).wait()
            if arrived[number] < 3:
                early.append(number)
            number += 1
            scene.rounds[f"barrier {leads}"] = number

    with (
        ZooKeeperEnsemble(session_folder / "leader-ensemble") as ensemble,
        clients(ensemble.hosts) as connect,
        ThreadPoolExecutor(16) as pool,
    ):
        connection = {"conn_type": "zookeeper", "host": ensemble.hosts}
        monkeypatch.setenv("AIRFLOW_CONN_ZOOKEEPER_DEFAULT", json.dumps(connection))
        first = connect(timeout=10)
        first.ensure_path("/leader")
        first.create("/leader/left", b"1000")
        first.create("/leader/right", b"0")
        futures: dict[str, Future[None]] = {}

        def start(name: str, work: Callable[[int], Any]) -> None:
            futures[name] = pool.submit(scene.repeat, name, work)

        for number in range(3):
            start(f"semaphore {number}", partial(hold, connect(timeout=10)))
            start(f"election {number}", elect)
        for number in range(2):
            start(f"reader {number}", partial(read, connect(timeout=10)))
            one = Atomic(connect(timeout=10), "test")
            start(f"transaction {number}", partial(transfer, one, moved))
        start("writer", partial(write, connect(timeout=10)))
        for number in range(3):
            futures[f"barrier {number}"] = pool.submit(meet, connect(timeout=10), number == 0)
        watch = MemberWatch(connect(timeout=10), "leader-service", lambda members: None)
        registration = Registration(connect(timeout=10), "leader-service", Member("one"))
        with watch, registration:
            wait_until(
                lambda: (
                    len(scene.rounds) == len(futures) - 1  # two of the barrier count as one
                    and min(scene.rounds.values()) >= ROUNDS
                ),
                "some rounds of each",
            )
            leader = ensemble.leader()
            assert leader is not None
            leader.process.kill()
            scene.killed.set()
            for name, future in futures.items():
                try:
                    future.result(120)
                except Exception as error:
                    raise AssertionError(f"{name} failed") from error
            registration.update(state="draining")
            wait_until(
                lambda: watch.members.get("one") == Member("one", state="draining"), "the member"
            )
            assert list(list_members(first, "leader-service")) == ["one"]
        left, right = (int(first.get(f"/leader/{name}")[0]) for name in ("left", "right"))

    assert semaphore.most <= LEASES + scene.lost
    assert len(mixed) <= 2 * scene.lost
    assert (left, right) == (1000 - len(moved), len(moved)), "done once, or not at all"
    assert len(moved) >= 2 * ROUNDS
    assert set(ran.values()) == {1}, "each election ran in exactly one"
    assert all(len(by) == 1 for by in believed.values()), "and all agree in whom"
    assert early == []
