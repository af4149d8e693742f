# SPDX-License-Identifier: Apache-2.0
"""Airflow's own example DAGs end the same under ZkExecutor as under LocalExecutor.

Both Airflows run the same files on PostgreSQL, all runs triggered at once; the comparison is of
the state of every task instance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from devstack import AirflowStack, Child, TaskState, ZkWorker, ZooKeeperServer, zk_executor_options
from devstack.airflow import ZK_EXECUTOR
from devstack.example_dags import COMPARED
from devstack.metrics import counted
from devstack.tables import table

RUN_TIMEOUT = 240
TRIGGERED = [dag_id for example in COMPARED for dag_id in example.triggered]
ALL = TRIGGERED + [dag_id for example in COMPARED for dag_id in example.also_runs]
EXPECTED = {
    dag_id: example.expected
    for example in COMPARED
    for dag_id in example.triggered + example.also_runs
}

pytestmark = pytest.mark.e2e


@dataclass
class Outcome:
    """How the runs on one Airflow ended."""

    runs: dict[str, str] = field(default_factory=dict)
    tasks: dict[str, dict[tuple[str, int], str]] = field(default_factory=dict)
    instances: list[TaskState] = field(default_factory=list)


def run_examples(stack: AirflowStack, needs: Sequence[Child] = ()) -> Outcome:
    """Trigger all examples at once and wait until every run, triggered ones included, has ended."""
    client = stack.client
    stack.wait_dags(ALL)
    children = [*stack.children(), *needs]
    runs = [(dag_id, client.trigger(dag_id)) for dag_id in TRIGGERED]
    client.wait_runs(runs, timeout=RUN_TIMEOUT, needs=children)
    # Those that other runs triggered exist by now.
    states = client.wait_runs(client.run_states(), timeout=RUN_TIMEOUT, needs=children)
    outcome = Outcome(instances=client.tasks())
    outcome.runs = {dag_id: state for (dag_id, _), state in states.items()}
    assert len(outcome.runs) == len(states), f"one run of each DAG, but {sorted(states)}"
    for task in outcome.instances:
        tasks = outcome.tasks.setdefault(task.dag_id, {})
        tasks[task.task_id, task.map_index] = task.state
    return outcome


def summary(local: Outcome, zk: Outcome | None = None) -> str:
    """A line per DAG: its state and number of task instances under each executor."""
    columns = [local] if zk is None else [local, zk]
    heading = ["dag", "LocalExecutor", "tasks"] + (["ZkExecutor", "tasks", "same"] if zk else [])
    rows = []
    for dag_id in sorted(ALL):
        row: list[object] = [dag_id]
        for outcome in columns:
            row += [outcome.runs.get(dag_id), len(outcome.tasks.get(dag_id, ()))]
        if zk:
            row.append("yes" if local.tasks.get(dag_id) == zk.tasks.get(dag_id) else "NO")
        rows.append(row)
    return table(heading, rows)


def check_expected(outcome: Outcome) -> None:
    """Every DAG ran, has task instances, ended as its file says, and really used the executor."""
    assert outcome.runs == EXPECTED
    assert all(outcome.tasks.get(dag_id) for dag_id in ALL)
    assert sum(1 for task in outcome.instances if task.hostname) > 60


@pytest.fixture(scope="module")
def local_outcome(under_local_executor: Callable[..., Outcome]) -> Outcome:
    """The runs under LocalExecutor, whose Airflow has ended again."""
    return under_local_executor("example-dags-local", COMPARED, run_examples)


def test_examples_end_as_documented_under_local_executor(local_outcome: Outcome) -> None:
    """The ground for the comparison: the examples need nothing that is missing here."""
    check_expected(local_outcome)


@pytest.mark.parametrize(
    ("supervisor", "warm"), [("native", "imports"), ("native", "off"), ("airflow", "off")]
)
def test_examples_end_alike_under_zk_executor_and_local_executor(
    local_outcome: Outcome,
    airflow_stack: Callable[..., AirflowStack],
    zookeeper: ZooKeeperServer,
    supervisor: str,
    warm: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every task instance ends in the same state, whichever executor and supervisor ran it."""
    options = {
        **zk_executor_options(zookeeper, f"/test-example-dags-{supervisor}-{warm}"),
        "AIRFLOW__ZK_EXECUTOR__SUPERVISOR": supervisor,
        "AIRFLOW__ZK_EXECUTOR__WARM": warm,
    }
    stack = airflow_stack("zk", executor=ZK_EXECUTOR, options=options)
    for example in COMPARED:
        stack.add_dags(example.files)
    worker = ZkWorker(stack.home, stack.env, name="localhost", slots=16, http_port=stack.log_port)
    stack.launch()
    with worker:
        stack.wait_healthy()
        outcome = run_examples(stack, needs=[worker.process])
        log = stack.client.log(
            "tutorial_taskflow_api",
            next(t.run_id for t in outcome.instances if t.dag_id == "tutorial_taskflow_api"),
            "load",
        )
        supervised = counted(worker.http, "zkexec_worker_supervised_total", f'by="{supervisor}"')
        from_warm = counted(worker.http, "zkexec_worker_forked_total", 'from="warm"')
        stack.stop()

    with capsys.disabled():
        print("\n" + summary(local_outcome, outcome))
    check_expected(outcome)
    assert outcome.tasks == local_outcome.tasks
    assert outcome.runs == local_outcome.runs
    assert "Total order value is" in log
    assert supervised > 60
    assert (from_warm > 0) == (warm == "imports")
