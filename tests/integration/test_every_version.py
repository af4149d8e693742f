# SPDX-License-Identifier: Apache-2.0
"""What has to work on every version of Airflow that we name, in one stack of the installed one.

Runs by itself in the environments of further versions (see tools/run_suites.py); the other tests
of this folder say more, and run with one version.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from airflow import __version__ as airflow_version

from devstack import AirflowStack, ZkWorker, ZooKeeperServer, zk_executor_options
from devstack.airflow import ZK_EXECUTOR
from devstack.example_dags import examples_of
from devstack.metrics import counted
from devstack.processes import wait_until

RUN_TIMEOUT = 240
EXAMPLES = examples_of(airflow_version)
TRIGGERED = [dag_id for example in EXAMPLES for dag_id in example.triggered]
EXPECTED = {dag_id: example.expected for example in EXAMPLES for dag_id in example.triggered}
DEADLINE = Path(__file__).parent / "dags" / "deadline.py"
# Of a task: its id, its place among mapped ones, how it ended.
Ends = dict[str, list[tuple[str, int, str]]]

pytestmark = pytest.mark.e2e


@dataclass
class Running:
    """ZkExecutor's Airflow with its one worker."""

    stack: AirflowStack
    worker: ZkWorker


def run_examples(stack: AirflowStack) -> Ends:
    """Trigger all examples at once, and wait for their ends."""
    stack.wait_dags(TRIGGERED)
    runs = [(dag_id, stack.client.trigger(dag_id)) for dag_id in TRIGGERED]
    states = stack.client.wait_runs(runs, timeout=RUN_TIMEOUT, needs=stack.children())
    assert {dag_id: state for (dag_id, _), state in states.items()} == EXPECTED
    ends: Ends = {}
    for task in stack.client.tasks():
        ends.setdefault(task.dag_id, []).append((task.task_id, task.map_index, task.state))
    return {dag_id: sorted(ends[dag_id]) for dag_id in TRIGGERED}


@pytest.fixture(scope="module")
def local_ends(under_local_executor: Callable[..., Ends]) -> Ends:
    """How the examples end under LocalExecutor, whose Airflow has ended again."""
    return under_local_executor("every-version-local", EXAMPLES, run_examples)


@pytest.fixture(scope="module")
def running(
    session_folder: Path,
    local_ends: Ends,
    airflow_database: Callable[[], str],
    zookeeper: ZooKeeperServer,
) -> Iterator[Running]:
    stack = AirflowStack(
        session_folder / "every-version-zk",
        database=airflow_database(),
        executor=ZK_EXECUTOR,
        options={
            **zk_executor_options(zookeeper, "/test-every-version"),
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "30",
        },
    )
    for example in EXAMPLES:
        stack.add_dags(example.files)
    stack.add_dags([DEADLINE])
    worker = ZkWorker(stack.home, stack.env, name="localhost", slots=16, http_port=stack.log_port)
    try:
        stack.launch()
        with worker:
            stack.wait_healthy()
            yield Running(stack, worker)
    finally:
        stack.stop()


def test_ten_files_of_examples_are_chosen() -> None:
    assert len(EXAMPLES) == 10


def test_examples_end_as_under_local_executor_and_are_supervised_natively(
    local_ends: Ends, running: Running
) -> None:
    ends = run_examples(running.stack)
    assert ends == local_ends
    by_airflow = counted(running.worker.http, "zkexec_worker_supervised_total", 'by="airflow"')
    native = counted(running.worker.http, "zkexec_worker_supervised_total", 'by="native"')
    started = sum(end[2] not in ("skipped", "upstream_failed") for d in ends.values() for end in d)
    assert by_airflow == 0, running.worker.output()[-3000:]
    assert native >= started / 2


def test_deadline_callback_runs_on_a_worker(running: Running) -> None:
    client = running.stack.client
    run = client.trigger("misses_its_deadline")
    mark = running.stack.home / "marks" / "deadline"
    wait_until(mark.exists, "the callback of a missed deadline", timeout=90)
    assert "kind=callback" in running.worker.output()
    client.wait_runs([("misses_its_deadline", run)], timeout=60)


def test_connection_test_runs_on_a_worker(running: Running, zookeeper: ZooKeeperServer) -> None:
    asked = running.stack.client.request(
        "POST",
        "/connections/enqueue-test",
        {"connection_id": "tested", "conn_type": "zookeeper", "host": zookeeper.hosts},
    )
    header = {"Airflow-Connection-Test-Token": asked["token"]}

    def ended() -> dict | None:
        test = running.stack.client.request("GET", "/connections/enqueue-test", headers=header)
        return test if test["state"] in ("success", "failed") else None

    test = wait_until(ended, "the connection test", timeout=60, interval=0.5)
    assert test["state"] == "success", test["result_message"]
    assert "kind=connection_test" in running.worker.output()


def test_commands_show_the_workers_and_the_queues(running: Running) -> None:
    text = running.stack.run("zk-workers", "zk", "workers", "--output", "json")
    (worker,) = json.loads(text[text.index("[") :])
    assert worker["state"] == "active"
    assert "queue" in running.stack.run("zk-queues", "zk", "queues", "--output", "table").lower()


def test_provider_and_its_options_are_shown_by_airflow(running: Running) -> None:
    assert "zk-executor" in running.stack.run("providers", "providers", "list")
    section = ("config", "list", "--section", "zk_executor")
    assert "session_timeout" in running.stack.run("config", *section)
