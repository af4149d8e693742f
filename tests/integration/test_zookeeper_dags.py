# SPDX-License-Identifier: Apache-2.0
"""Locks, counters and the examples in a real Airflow, under ZkExecutor and LocalExecutor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from test_example_dags import counted
from zk_clients import Connect, clients

from devstack import AirflowStack, Child, ZkWorker, ZooKeeperServer, wait_until, zk_executor_options
from devstack.airflow import ZK_EXECUTOR
from zk_executor.locks import zk_lock

DAGS = Path(__file__).parent / "dags"
FOLDER = Path(__file__).resolve().parents[2] / "python" / "zk_executor" / "example_dags"
EXAMPLES = tuple(f"example_zookeeper_{name}" for name in ("locks", "atomic", "cluster"))

pytestmark = pytest.mark.e2e


@pytest.fixture
def connect(zookeeper: ZooKeeperServer) -> Iterator[Connect]:
    with clients(zookeeper.hosts) as make:
        yield make


def options(zookeeper: ZooKeeperServer, root: str, folder: Path, **more: object) -> dict[str, str]:
    """Airflow's, with a connection to a part of ZooKeeper of its own."""
    connection = f"zookeeper://{zookeeper.hosts}/?chroot={root}".replace("/?", "?")
    return {
        **zk_executor_options(zookeeper, "/zk-executor" + root),
        "AIRFLOW_CONN_ZOOKEEPER_DEFAULT": connection,
        "GUARDED_FILE": str(folder / "guarded"),
        **{name: str(value) for name, value in more.items()},
    }


def check_that_a_lost_session_interrupts_a_task(
    stack: AirflowStack, guarded: Path, needs: Sequence[Child]
) -> None:
    """It fails with the reason in its log, and its retry has the lock, with a greater token."""
    guarded.unlink()
    run = stack.client.trigger("loses_its_session")
    states = stack.client.wait_runs([("loses_its_session", run)], timeout=120, needs=needs)
    assert set(states.values()) == {"success"}
    tries = [line.split() for line in guarded.read_text().splitlines()]
    assert [line[:2] for line in tries] == [["try", "1"], ["try", "2"]]
    assert int(tries[0][2]) < int(tries[1][2])
    log = stack.client.log("loses_its_session", run, "hold", try_number=1)
    assert "ZookeeperLockLost" in log and "/contended/expiring" in log


@pytest.mark.parametrize(
    ("executor", "contenders", "standby"), [("zk", 200, 12), ("LocalExecutor", 20, 2)]
)
def test_mapped_tasks_hold_a_lock_one_by_one_and_count_exactly(
    zookeeper: ZooKeeperServer,
    airflow_stack: Callable[..., AirflowStack],
    connect: Connect,
    tmp_path: Path,
    executor: str,
    contenders: int,
    standby: int,
) -> None:
    """The file shows no overlap, tokens grow, the counter is exact, and waiting takes no slot."""
    root = f"/contended-{executor}"
    client = connect()
    client.ensure_path(root)
    stack = airflow_stack(
        "airflow",
        executor=ZK_EXECUTOR if executor == "zk" else executor,
        options=options(zookeeper, root, tmp_path, CONTENDERS=contenders, STANDBY=standby),
        parallelism=64 if executor == "zk" else 8,
    )
    # The examples need no second Airflow.
    examples = [] if executor == "zk" else EXAMPLES
    stack.add_dags([DAGS / "contended.py", *(FOLDER / f"{name}.py" for name in examples)])
    workers = [
        ZkWorker(stack.home, stack.env, name=f"worker-{number}", slots=8)
        for number in range(3 if executor == "zk" else 0)
    ]
    stack.launch()
    with ExitStack() as started:
        for worker in workers:
            started.enter_context(worker)
        stack.wait_healthy()
        stack.wait_dags(["contended", "loses_its_session", *examples])
        needs = [*stack.children(), *(worker.process for worker in workers)]

        def deferred() -> int:
            tasks = stack.client.tasks()
            return sum((t.task_id, t.state) == ("contend", "deferred") for t in tasks)

        with zk_lock(f"{root}/contended/lock", client=client):
            runs = [(name, stack.client.trigger(name)) for name in ("contended", *examples)]
            wait_until(
                lambda: deferred() == contenders - standby,
                "all but those on standby to wait deferred",
                timeout=300,
                needs=needs,
                interval=1,
            )
            assert not (tmp_path / "guarded").exists()
        states = stack.client.wait_runs(runs, timeout=300, needs=needs)
        tasks = [task for task in stack.client.tasks() if task.task_id == "contend"]
        guarded = (tmp_path / "guarded").read_text()
        if executor == "zk":
            check_that_a_lost_session_interrupts_a_task(stack, tmp_path / "guarded", needs)
        ran = [counted(worker.http, "zkexec_worker_supervised_total", "by=") for worker in workers]
        stack.stop()

    assert set(states.values()) == {"success"}
    assert len(tasks) == contenders and {task.state for task in tasks} == {"success"}
    lines = [line.split() for line in guarded.splitlines()]
    assert len(lines) == 2 * contenders
    for entered, left in zip(lines[::2], lines[1::2], strict=True):
        assert entered[0] == "in" and left == ["out", *entered[1:]], "two were in at once"
    tokens = [int(line[2]) for line in lines[::2]]
    assert tokens == sorted(set(tokens))
    assert int(client.get(f"{root}/contended/counter")[0]) == contenders
    assert client.get_children(f"{root}/contended/lock") == []
    assert all(number > 10 for number in ran), "every worker had its part"
