# SPDX-License-Identifier: Apache-2.0
"""``airflow zk drain`` and its like, as a person types them, on a real worker and ZooKeeper."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient

from devstack import ZkWorker, ZooKeeperServer, wait_until
from zk_executor import _core
from zk_executor.members.member import ZookeeperClusterError
from zk_executor.operators.cluster import ZookeeperClusterOperator

AIRFLOW = Path(sys.executable).parent / "airflow"
SECRET = "an encryption key for tests"

Run = subprocess.CompletedProcess[str]


@pytest.fixture
def root() -> str:
    return f"/test-{secrets.token_hex(8)}"


@pytest.fixture
def silent_server() -> Iterator[str]:
    """An Execution API that never answers: what asks it runs until it is killed."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/execution/"


@pytest.fixture
def env(
    tmp_path: Path, zookeeper: ZooKeeperServer, root: str, silent_server: str
) -> dict[str, str]:
    outside = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")}
    return {
        **outside,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__API__SECRET_KEY": "a secret key for logs",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": silent_server,
        "AIRFLOW__CORE__EXECUTOR": "ZkExecutor",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "600",
        "AIRFLOW__ZK_EXECUTOR__ENCRYPTION_KEY": SECRET,
        "AIRFLOW__ZK_EXECUTOR__HOSTS": zookeeper.hosts,
        "AIRFLOW__ZK_EXECUTOR__PARTITIONS": "4",
        "AIRFLOW__ZK_EXECUTOR__ROOT": root,
        "AIRFLOW__ZK_EXECUTOR__SESSION_TIMEOUT": "20",
        # What follows must not need the look around.
        "AIRFLOW__ZK_EXECUTOR__RELIST_INTERVAL": "600",
    }


@pytest.fixture
def make_worker(tmp_path: Path, env: dict[str, str]) -> Iterator[Callable[..., ZkWorker]]:
    made: list[ZkWorker] = []

    def make(name: str, **arguments: Any) -> ZkWorker:
        worker = ZkWorker(tmp_path, env, name=name, **arguments)
        made.append(worker)
        worker.start()
        return worker

    yield make
    for worker in made:
        worker.stop()


@pytest.fixture
def executor(zookeeper: ZooKeeperServer, root: str) -> Iterator[_core.Session]:
    session = _core.Session(
        hosts=zookeeper.hosts,
        root=root,
        team="default",
        scheduler_id="s1",
        session_timeout_ms=10000,
        partitions=4,
        encryption_secret=SECRET.encode(),
        digest_auth="",
        max_workload_bytes=100_000,
    )
    session.start()
    yield session
    session.stop(5000)


@pytest.fixture
def look(zookeeper: ZooKeeperServer, root: str) -> Callable[[str], list[Any]]:
    """What the nodes say: inspect_workers or inspect_queues."""

    def ask(function: str) -> list[Any]:
        return getattr(_core, function)(
            hosts=zookeeper.hosts, root=root, team="default", digest_auth="", timeout_ms=10000
        )

    return ask


def zk(env: dict[str, str], *commands: str) -> list[Run]:
    """Several ``airflow zk`` commands at the same time; their words are separated by "|"."""
    started = [
        subprocess.Popen(
            [str(AIRFLOW), "zk", *command.split("|")],
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for command in commands
    ]
    return [
        subprocess.CompletedProcess(one.args, one.wait(), *read)
        for one in started
        for read in [one.communicate(timeout=120)]
    ]


def done(env: dict[str, str], command: str) -> str:
    (one,) = zk(env, command)
    assert one.returncode == 0, one.stderr
    return one.stdout


def placement(dispatch: str, *, queue: str = "default", task: str = "") -> _core.Placement:
    """A task that runs until it is killed; one that Airflow can't read if ``task`` is empty."""
    workload = {
        "type": "ExecuteTask",
        "token": "x",
        "ti": {
            "id": str(uuid.uuid4()),
            "dag_version_id": str(uuid.uuid4()),
            "task_id": task,
            "dag_id": "dag",
            "run_id": "run",
            "try_number": 2,
            "map_index": -1,
            "pool_slots": 1,
            "queue": queue,
            "priority_weight": 1,
            "external_executor_id": dispatch,
        },
        "dag_rel_path": "dag.py",
        "bundle_info": {"name": "bundle", "version": None},
        "log_path": f"{dispatch}.log",
    }
    return _core.Placement(
        dispatch_id=dispatch,
        queue=queue,
        kind="task",
        route_key="b||f.py",
        slots=1,
        priority=1,
        workload=json.dumps(workload).encode() if task else b'{"token": "x"}',
        label=f"dag.{task} run 2 -1",
    )


def test_workers_are_paused_changed_and_resumed(
    env, make_worker, executor: _core.Session, look
) -> None:
    left, right = make_worker("left"), make_worker("right")

    def states() -> dict[str, tuple[str, str]]:
        return {row["worker"]: (row["state"], row["comment"]) for row in look("inspect_workers")}

    assert f"{left.full_name} is draining (a disk)" in done(env, "drain|left|--comment|a disk")
    assert states() == {
        left.full_name: ("draining", "a disk"),
        right.full_name: ("active", ""),
    }
    told = done(env, "maintenance|--all|--comment|not [/red] yet|--output|json")
    assert {row["state"] for row in json.loads(told)} == {"maintenance"}
    assert set(states().values()) == {("maintenance", "not [/red] yet")}
    executor.place([placement("d1"), placement("d2", queue="heavy")])
    changed = zk(env, "concurrency|left|3", "queues|add|left|heavy,gpu")
    assert [one.returncode for one in changed] == [0, 0], changed
    assert "queues heavy." in done(env, "queues|remove|left|default,gpu")
    listings = zk(env, "workers", "queues|--output|json")
    assert "not [/red] yet" in listings[0].stdout
    depths = {row["queue"]: row["depth"] for row in json.loads(listings[1].stdout)}
    assert (depths["default"], depths["heavy"]) == ("1", "1"), "nobody took anything"

    assert "is active, 3 slots, queues heavy." in done(env, f"resume|{left.full_name}")
    events: dict[str, str] = {}

    def collected(dispatch: str) -> bool:
        events.update((event.dispatch_id, event.worker) for event in executor.drain_events())
        return dispatch in events

    wait_until(lambda: collected("d2"), "the result of d2", timeout=60, needs=[left.process])
    assert events == {"d2": left.full_name}
    done(env, "resume|--all")
    wait_until(lambda: collected("d1"), "the result of d1", timeout=60, needs=[right.process])
    assert events["d1"] == right.full_name


def test_a_running_task_is_killed_and_a_worker_after_sigterm_is_not_resumed(
    env, make_worker, executor: _core.Session, look
) -> None:
    worker = make_worker("w", slots=2)
    executor.place([placement("d1", task="a"), placement("d2", task="b")])
    executor.place([placement("d3", task="c", queue="unserved")])
    wait_until(
        lambda: look("inspect_workers")[0]["running"] == 2,
        "two tasks to run",
        timeout=60,
        needs=[worker.process],
    )
    worker.drain()
    wait_until(
        lambda: look("inspect_workers")[0]["state"] == "draining",
        "the drain",
        timeout=30,
        needs=[worker.process],
    )
    resumed, queued, unknown, other_task = zk(
        env, "resume|w", "kill|d3", "kill|no-such", "kill|--ti|dag|a|other_run"
    )
    assert resumed.returncode == 1
    assert "is draining" in resumed.stderr
    assert "resume ignored" in worker.output()
    assert (queued.returncode, "queued in unserved" in queued.stderr) == (1, True), queued
    assert (unknown.returncode, "not queued" in unknown.stderr) == (1, True), unknown
    assert (other_task.returncode, "not queued" in other_task.stderr) == (1, True), other_task

    killed = zk(env, "kill|d1", "kill|--ti|dag|b|run|--output|json")
    assert [one.returncode for one in killed] == [0, 0], killed
    assert f"has ended on {worker.full_name}" in killed[0].stdout
    (row,) = json.loads(killed[1].stdout)
    assert (row["dispatch_id"], row["outcome"]) == ("d2", "ended")
    events = {}

    def collected() -> bool:
        events.update((event.dispatch_id, event.outcome) for event in executor.drain_events())
        return len(events) == 2

    wait_until(collected, "both results", timeout=30)
    assert events == {"d1": "killed", "d2": "killed"}
    assert worker.process.wait(30) == 0


def test_what_is_wrong_is_told_with_its_exit_code(
    env, make_worker, zookeeper: ZooKeeperServer, root: str
) -> None:
    (nobody,) = zk(env, "drain|w")
    assert (nobody.returncode, "no live worker" in nobody.stderr) == (1, True), nobody
    workers = [make_worker("w"), make_worker("w")]
    ambiguous, unknown, usage, number, unreachable = zk(
        env,
        "drain|w",
        "drain|nobody",
        "drain",
        "concurrency|w|0",
        "drain|w|--hosts|127.0.0.1:1|--timeout|1",
    )
    for one in (ambiguous, unknown):
        assert one.returncode == 1
        assert all(worker.full_name in one.stderr for worker in workers), one.stderr
    assert usage.returncode == number.returncode == 2
    assert "--all" in usage.stderr
    assert "1 to 2048" in number.stderr
    assert (unreachable.returncode, "hosts=127.0.0.1:1" in unreachable.stderr) == (1, True)

    # Something in control/ that isn't ours, and a worker that is stopped: it can't obey.
    client = KazooClient(zookeeper.hosts)
    client.start()
    try:
        control = f"{root}/default/control/{workers[0].full_name}"
        client.create(f"{control}/lock-1", b"")
        client.create(f"{control}/command-", b"\xff\xff", sequence=True)
        wait_until(
            lambda: client.get_children(control) == ["lock-1"], "the bad command to go", timeout=30
        )
        text = workers[0].output()
        assert "command refused" in text
        assert text.count("left where it is") == 1
        os.kill(workers[0].worker_pid, signal.SIGSTOP)
        try:
            (stopped,) = zk(env, f"drain|{workers[0].full_name}|--timeout|1")
        finally:
            os.kill(workers[0].worker_pid, signal.SIGCONT)
        assert stopped.returncode == 1
        assert "taken back, nothing has changed" in stopped.stderr
        assert client.get_children(control) == ["lock-1"]
    finally:
        client.stop()
        client.close()


def test_a_dag_drains_and_resumes_a_worker(
    make_worker: Callable[..., ZkWorker], env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in env.items():
        if name.startswith("AIRFLOW__ZK_EXECUTOR__"):
            monkeypatch.setenv(name, value)
    make_worker("left")
    make_worker("right")

    def run(**arguments: Any) -> Any:
        operator = ZookeeperClusterOperator(task_id="workers", **arguments)
        return ZookeeperClusterOperator.execute.__wrapped__(operator, {})  # type: ignore[attr-defined]

    def states() -> dict[str, str]:
        members = run(action="members")
        return {member["name"].partition("-")[0]: member["state"] for member in members}

    assert states() == {"left": "active", "right": "active"}
    assert run(action="drain", worker="left", comment="new disk")["state"] == "draining"
    assert states() == {"left": "draining", "right": "active"}
    (owner,) = {name for owners in run(action="route", keys=["a", "b"]).values() for name in owners}
    assert owner.startswith("right-")
    assert run(action="resume", worker="left")["state"] == "active"
    assert states() == {"left": "active", "right": "active"}
    with pytest.raises(ZookeeperClusterError, match="middle"):
        run(action="drain", worker="middle")
