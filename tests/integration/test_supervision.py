# SPDX-License-Identifier: Apache-2.0
"""One real Airflow with real workers: how tasks end, where they run, what a person sees.

The executor is set by its bare name, and ZooKeeper starts last: the scheduler must not mind.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from devstack import AirflowStack, ZkWorker, ZooKeeperServer, zk_executor_options
from devstack.processes import descendants, is_running, wait_until

pytestmark = pytest.mark.e2e

DAGS = Path(__file__).parent / "dags"
DAG_IDS = [
    "fails_and_calls_back",
    "killed_for_good",
    "killed_then_retried",
    "misses_its_deadline",
    "loses_its_worker",
    "nobody_serves",
    "supervisor_killed",
    "takes_too_long",
    "talks_while_it_runs",
    "two_queues",
    "vanishing",
]


class Fleet:
    """The stack and the workers that the tests share."""

    def __init__(self, stack: AirflowStack, left: ZkWorker, right: ZkWorker) -> None:
        self.stack = stack
        self.client = stack.client
        self.left = left
        self.right = right

    def worker(self, name: str, *queues: str, slots: int = 4) -> ZkWorker:
        """A further worker, not started."""
        return make_worker(self.stack, name, queues, slots=slots)

    def cli(self, name: str, *arguments: str) -> list[dict]:
        text = self.stack.run(name, "zk", *arguments, "--output", "json")
        return json.loads(text[text.index("[") :])


def make_worker(
    stack: AirflowStack, name: str, queues: Sequence[str], http_port: int = 0, slots: int = 4
) -> ZkWorker:
    """Its logs lie where the API server can't see them: only the log server can show them."""
    env = stack.env | {"AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(stack.home / "worker-logs")}
    return ZkWorker(stack.home, env, name=name, slots=slots, queues=queues, http_port=http_port)


@pytest.fixture(scope="module")
def fleet(session_folder: Path, airflow_database: Callable[[], str]) -> Iterator[Fleet]:
    zookeeper = ZooKeeperServer(session_folder / "supervision-zookeeper")
    stack = AirflowStack(
        session_folder / "supervision",
        database=airflow_database(),
        executor="ZkExecutor",
        options={
            **zk_executor_options(zookeeper),
            "AIRFLOW__WORKERS__MISSING_DAG_RETRIES": "0",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            # The first request that a cold API server answers can take longer than the default of
            # 5 s; Airflow then asks a second time for what it hands out once.
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "30",
        },
    )
    stack.add_dags(sorted(DAGS.glob("*.py")))
    left = make_worker(stack, "left", ["left", "default"], stack.log_port)
    right = make_worker(stack, "right", ["right"])
    try:
        # Without ZooKeeper: scheduler and worker start, and wait for it.
        stack.start()
        left.start(wait=False)
        right.start(wait=False)
        stack.wait_dags(DAG_IDS)
        zookeeper.start()
        left.wait_ready()
        right.wait_ready()
        yield Fleet(stack, left, right)
    finally:
        left.stop()
        right.stop()
        stack.stop()
        zookeeper.stop()


def test_task_killed_by_sigkill_is_retried_with_the_reason_in_its_log(fleet: Fleet) -> None:
    run = fleet.client.trigger("killed_then_retried")
    task = fleet.client.wait_task(
        "killed_then_retried", run, "kill_myself_once", ["success"], timeout=60
    )
    assert task.try_number == 2
    log = fleet.client.log("killed_then_retried", run, "kill_myself_once", try_number=1)
    assert "first words" in log
    assert "Process terminated by signal" in log
    assert "killed by SIGKILL" in fleet.left.output()


def test_task_killed_by_sigkill_without_retries_fails(fleet: Fleet) -> None:
    run = fleet.client.trigger("killed_for_good")
    fleet.client.wait_task("killed_for_good", run, "kill_myself", ["failed"], timeout=60)


def test_task_whose_supervisor_is_killed_dies_with_it_and_is_retried(fleet: Fleet) -> None:
    run = fleet.client.trigger("supervisor_killed")
    task = fleet.client.wait_task(
        "supervisor_killed", run, "kill_my_supervisor", ["success"], timeout=60
    )
    assert task.try_number == 2
    assert (fleet.stack.home / "marks" / "supervisor_killed").read_text() == "xx"


def test_failure_callback_of_a_failing_task_runs(fleet: Fleet) -> None:
    run = fleet.client.trigger("fails_and_calls_back")
    fleet.client.wait_task("fails_and_calls_back", run, "fail", ["failed"], timeout=60)
    # Airflow calls back after it has recorded the state.
    mark = fleet.stack.home / "marks" / "failure_callback"
    wait_until(lambda: mark.exists() and mark.read_text() == "x", "the callback", timeout=30)
    assert "Task failed with exception" in fleet.client.log("fails_and_calls_back", run, "fail")


def test_task_over_its_execution_timeout_fails(fleet: Fleet) -> None:
    run = fleet.client.trigger("takes_too_long")
    fleet.client.wait_task("takes_too_long", run, "sleep", ["failed"], timeout=60)
    assert "Process timed out" in fleet.client.log("takes_too_long", run, "sleep")


def test_log_is_shown_while_the_task_runs_and_after_it_ended(fleet: Fleet) -> None:
    run = fleet.client.trigger("talks_while_it_runs")
    fleet.client.wait_task("talks_while_it_runs", run, "talk", ["running"], timeout=60)
    wait_until(
        lambda: "I am running now" in fleet.client.log("talks_while_it_runs", run, "talk"),
        "the log of a running task",
        timeout=30,
        interval=0.5,
    )
    (fleet.stack.home / "marks" / "gate").write_bytes(b"")
    fleet.client.wait_task("talks_while_it_runs", run, "talk", ["success"], timeout=60)
    assert "I am running now" in fleet.client.log("talks_while_it_runs", run, "talk")
    assert not (fleet.stack.home / "logs" / "dag_id=talks_while_it_runs").exists()


def test_workers_with_different_queues_run_only_theirs(fleet: Fleet) -> None:
    run = fleet.client.trigger("two_queues")
    fleet.client.wait_runs([("two_queues", run)], timeout=60)
    assert fleet.client.run_state("two_queues", run) == "success"
    assert "two_queues.on_the_left" in fleet.left.output()
    assert "two_queues.on_the_right" in fleet.right.output()
    assert "two_queues.on_the_right" not in fleet.left.output()
    assert "two_queues.on_the_left" not in fleet.right.output()


def test_task_for_a_queue_that_nobody_serves_waits_visibly_until_somebody_does(
    fleet: Fleet,
) -> None:
    run = fleet.client.trigger("nobody_serves")
    fleet.client.wait_task("nobody_serves", run, "wait_for_a_worker", ["queued"], timeout=60)

    def nobody() -> dict | None:
        queues = {row["queue"]: row for row in fleet.cli("queues", "queues")}
        return queues.get("nobody")

    row = wait_until(nobody, "the queue to be listed", timeout=60, interval=0.5)
    assert int(row["depth"]) == 1
    assert int(row["workers"]) == 0
    assert float(row["oldest_age_seconds"]) >= 0
    with fleet.worker("helper", "nobody"):
        fleet.client.wait_task("nobody_serves", run, "wait_for_a_worker", ["success"], timeout=60)


def test_task_whose_dag_file_is_gone_fails_and_its_log_says_so(fleet: Fleet) -> None:
    run = fleet.client.trigger("vanishing")
    fleet.client.wait_task("vanishing", run, "never_found", ["queued"], timeout=60)
    (fleet.stack.dags / "vanishing.py").unlink()
    with fleet.worker("late", "late"):
        fleet.client.wait_task("vanishing", run, "never_found", ["failed"], timeout=90)
    log = fleet.client.log("vanishing", run, "never_found")
    assert "vanishing.py" in log
    assert "Dag not found" in log or "not found" in log.lower()


def test_worker_killed_by_sigkill_under_load_leaves_no_process_and_its_tasks_are_retried(
    fleet: Fleet,
) -> None:
    run = fleet.client.trigger("loses_its_worker")
    first = fleet.worker("fragile-1", "fragile", slots=8)
    first.start()
    marks = fleet.stack.home / "marks"
    wait_until(
        lambda: len(list(marks.glob("survive-*-1"))) == 8, "the first try of each", timeout=90
    )
    below = descendants(first.process.pid)
    assert len(below) >= 1 + 8 + 4, "zygote, tasks, and the programs of half of them"
    first.kill()
    wait_until(
        lambda: not any(is_running(pid) for pid in below),
        "the killed worker's processes to end",
        timeout=20,
    )
    with fleet.worker("fragile-2", "fragile", slots=8):
        for number in range(8):
            task = fleet.client.wait_task(
                "loses_its_worker", run, "survive", ["success"], timeout=90, map_index=number
            )
            assert task.try_number == 2
    # Each try ran once, and nothing of the first went on after it was lost.
    assert {path.name: path.read_text() for path in marks.glob("survive-*")} == {
        f"survive-{number}-{attempt}": "x" for number in range(8) for attempt in (1, 2)
    }


@pytest.mark.parametrize("conn_type", ["fs", "zookeeper"])
def test_connection_test_runs_on_a_worker(fleet: Fleet, conn_type: str) -> None:
    """What the button "Test connection" does, for a type of Airflow's and for our own."""
    servers = fleet.stack.env["AIRFLOW__ZK_EXECUTOR__HOSTS"]
    fields = {
        "fs": {"extra": json.dumps({"path": str(fleet.stack.home)})},
        "zookeeper": {"host": servers},
    }
    asked = fleet.client.request(
        "POST",
        "/connections/enqueue-test",
        {"connection_id": f"tested_{conn_type}", "conn_type": conn_type, **fields[conn_type]},
    )
    header = {"Airflow-Connection-Test-Token": asked["token"]}

    def ended() -> dict | None:
        test = fleet.client.request("GET", "/connections/enqueue-test", headers=header)
        return test if test["state"] in ("success", "failed") else None

    test = wait_until(ended, "the connection test", timeout=60, interval=0.5)
    assert test["state"] == "success", test["result_message"]
    if conn_type == "zookeeper":
        assert servers in test["result_message"]
    assert "kind=connection_test" in fleet.left.output()


def test_deadline_callback_runs_on_a_worker(fleet: Fleet) -> None:
    run = fleet.client.trigger("misses_its_deadline")
    mark = fleet.stack.home / "marks" / "deadline"
    wait_until(mark.exists, "the callback of a missed deadline", timeout=90)
    assert "kind=callback" in fleet.left.output()
    fleet.client.wait_runs([("misses_its_deadline", run)], timeout=60)


def test_workers_are_listed_with_their_queues_and_slots(fleet: Fleet) -> None:
    workers = {row["worker"].rsplit("-", 1)[0]: row for row in fleet.cli("workers", "workers")}
    assert {"left", "right"} <= set(workers)
    assert workers["right"]["state"] == "active"
    assert "right" in str(workers["right"]["queues"])


def test_provider_and_its_options_are_shown_by_airflow(fleet: Fleet) -> None:
    assert "zk-executor" in fleet.stack.run("providers", "providers", "list")
    assert "session_timeout" in fleet.stack.run(
        "config", "config", "list", "--section", "zk_executor"
    )
    value = fleet.stack.run("value", "config", "get-value", "core", "executor")
    assert "ZkExecutor:zk_executor.ZkExecutor" in value
