# SPDX-License-Identifier: Apache-2.0
"""Airflow on PostgreSQL, an ensemble and two workers, of which one after the other is killed."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devstack import (
    AirflowStack,
    PostgresServer,
    ZkWorker,
    ZooKeeperEnsemble,
    wait_until,
)
from devstack.airflow import ZK_EXECUTOR

DAG = "recorded"
RUNS = 1
TIMEOUT = 200

pytestmark = pytest.mark.e2e


def started(file: Path) -> list[str]:
    """A line "run, task, try" for each start of a task."""
    return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def ensemble(folder: Path) -> Iterator[ZooKeeperEnsemble]:
    """Three servers."""
    with ZooKeeperEnsemble(folder / "zookeeper") as servers:
        yield servers


@pytest.fixture
def stack(folder: Path, ensemble: ZooKeeperEnsemble) -> Iterator[AirflowStack]:
    """An Airflow that soon notices a dead scheduler."""
    with PostgresServer() as postgres:
        stack = AirflowStack(
            folder / "airflow",
            executor=ZK_EXECUTOR,
            database=postgres.create_database("airflow_chaos"),
            options={
                "AIRFLOW__ZK_EXECUTOR__HOSTS": ensemble.hosts,
                "AIRFLOW__ZK_EXECUTOR__SESSION_TIMEOUT": "4",
                "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "5",
                "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
                "RECORDED_STARTS": str(folder / "starts"),
            },
        )
        stack.migrate()
        stack.add_dags([Path(__file__).parent / "dags" / "recorded.py"])
        yield stack
        stack.stop()


def test_no_try_of_a_task_starts_twice_and_every_run_ends_whichever_process_is_killed(
    folder: Path,
    ensemble: ZooKeeperEnsemble,
    stack: AirflowStack,
    capsys: pytest.CaptureFixture[str],
) -> None:
    workers = [ZkWorker(folder, stack.env, name=f"w{n}", slots=8) for n in (0, 1)]
    with stack, workers[0], workers[1]:
        stack.wait_dags([DAG])
        runs = [(DAG, stack.client.trigger(DAG, run_id=f"run-{n}")) for n in range(RUNS)]

        def kill_worker() -> None:
            workers[0].process.kill()
            workers[0].start(wait=False)

        def kill_scheduler() -> None:
            stack.components["scheduler"].kill()
            stack.components["scheduler"].start()

        def kill_api_server() -> None:
            stack.components["api-server"].kill()
            stack.components["api-server"].start()

        def kill_leader() -> None:
            leader = wait_until(ensemble.leader, "a leader", timeout=30)
            leader.process.kill()
            leader.process.start()

        faults: list[Callable[[], None]] = [
            kill_worker,
            kill_scheduler,
            kill_leader,
            kill_api_server,
        ]
        for number, fault in enumerate(faults, start=1):
            wait_until(
                lambda enough=number * 20: len(started(folder / "starts")) >= enough,
                f"{number * 20} starts",
                timeout=TIMEOUT,
                needs=[*stack.children(), *(worker.process for worker in workers)],
                interval=0.1,
            )
            fault()
        stack.wait_healthy()
        states = stack.client.wait_runs(runs, timeout=TIMEOUT, needs=stack.children())
        tasks = stack.client.tasks()
    starts = Counter(started(folder / "starts"))
    tries = Counter(task.try_number for task in tasks)
    with capsys.disabled():
        print(f"\n{sum(starts.values())} starts of {len(tasks)} tasks, {Counter(states.values())}")
        print(f"tasks by number of tries: {dict(sorted(tries.items()))}")
    assert [line for line, count in starts.items() if count > 1] == []
    assert set(states.values()) == {"success"}
    shutil.rmtree(folder)
