# SPDX-License-Identifier: Apache-2.0
"""Several executors and several teams in one real Airflow: each task runs where it was meant to.

One ensemble, one root; every team has its own part of it and its own workers.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from devstack import AirflowStack, ZkWorker, ZooKeeperServer, wait_until, zk_executor_options

ROOT = "/test-teams"
TEAMS = ("blue", "green")
TIMEOUT = 180

SHARED_DAG = """
from airflow.sdk import dag, task

@dag(schedule=None)
def shared():
    @task
    def by_default():
        pass

    @task(executor="ZkExecutor")
    def by_name():
        pass

    by_default() >> by_name()

shared()
"""

TEAM_DAG = """
from airflow.sdk import dag, task

@dag(schedule=None)
def {team}():
    @task
    def work(number):
        pass

    work.expand(number=[1, 2, 3])

{team}()
"""

pytestmark = pytest.mark.e2e


def bundles(folder: Path) -> str:
    """Airflow's list of DAG bundles: everybody's folder, and one for each team."""
    classpath = "airflow.dag_processing.bundles.local.LocalDagBundle"
    shared: dict[str, object] = {"name": "dags-folder", "classpath": classpath, "kwargs": {}}
    return json.dumps(
        [shared]
        + [
            {
                "name": team,
                "classpath": classpath,
                "kwargs": {"path": str(folder / team)},
                "team_name": team,
            }
            for team in TEAMS
        ]
    )


def supervised(worker: ZkWorker) -> int:
    """How many tasks the worker has run."""
    with urllib.request.urlopen(f"http://{worker.http}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    name = "zkexec_worker_supervised_total{"
    return sum(int(float(line.rpartition(" ")[2])) for line in lines if line.startswith(name))


@pytest.fixture
def stack(
    airflow_stack: Callable[..., AirflowStack],
    zookeeper: ZooKeeperServer,
    tmp_path: Path,
) -> AirflowStack:
    """An Airflow with two executors for all and one for each team, its components started."""
    of_teams = {
        f"AIRFLOW__{team.upper()}___ZK_EXECUTOR__{option}": value
        for team in TEAMS
        for option, value in (("HOSTS", zookeeper.hosts), ("ROOT", ROOT))
    }
    options = {
        **zk_executor_options(zookeeper, ROOT),
        **of_teams,
        "AIRFLOW__CORE__MULTI_TEAM": "True",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": bundles(tmp_path),
    }
    stack = airflow_stack(
        executor="LocalExecutor,ZkExecutor;blue=ZkExecutor;green=ZkExecutor", options=options
    )
    stack.dags.mkdir(parents=True)
    (stack.dags / "shared.py").write_text(SHARED_DAG)
    for team in TEAMS:
        (tmp_path / team).mkdir()
        (tmp_path / team / f"{team}_dag.py").write_text(TEAM_DAG.format(team=team))
        stack.run(f"create-{team}", "teams", "create", team)
    stack.start()
    return stack


def worker_of(stack: AirflowStack, team: str) -> ZkWorker:
    options = ("--team", team) if team else ()
    return ZkWorker(stack.home, stack.env, name=team or "shared", slots=4, options=options)


def test_tasks_run_in_the_executor_that_they_name_and_by_the_workers_of_their_team(
    stack: AirflowStack,
) -> None:
    client = stack.client
    with worker_of(stack, "") as shared, worker_of(stack, "blue") as blue:
        stack.wait_dags(["shared", *TEAMS])
        needs = [*stack.children(), shared.process, blue.process]
        greens = [("green", client.trigger("green"))]
        others = [("shared", client.trigger("shared")), ("blue", client.trigger("blue"))]
        ended = client.wait_runs(others, timeout=TIMEOUT, needs=needs)
        assert set(ended.values()) == {"success"}
        # One of its two tasks; the other ran in the scheduler's LocalExecutor.
        assert (supervised(shared), supervised(blue)) == (1, 3)

        def waiting() -> list[str]:
            return [task.state for task in client.tasks() if task.dag_id == "green"]

        wait_until(
            lambda: waiting() == ["queued"] * 3,
            "green's tasks to wait for a worker of their team",
            timeout=TIMEOUT,
            needs=needs,
            describe=lambda: str(waiting()),
        )
        with worker_of(stack, "green") as green:
            ended = client.wait_runs(greens, timeout=TIMEOUT, needs=[*needs, green.process])
            assert set(ended.values()) == {"success"}
            assert (supervised(shared), supervised(blue), supervised(green)) == (1, 3, 3)
