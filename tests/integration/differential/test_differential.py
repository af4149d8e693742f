# SPDX-License-Identifier: Apache-2.0
"""Every example DAG that Airflow ships and that needs no outside service, three times each.

Under LocalExecutor and under ZkExecutor at its defaults, one run after the other, so that the later
ones are forked from warm processes: states of all task instances, and their logs, are the same. The
short version of this is test_example_dags.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from devstack import AirflowStack, Child, ZkWorker, ZooKeeperServer, zk_executor_options
from devstack.airflow import ZK_EXECUTOR
from devstack.example_dags import COMPARED, FURTHER, LEFT_OUT, installed_modules
from devstack.metrics import counted

EXAMPLES = (*COMPARED, *FURTHER)
TRIGGERED = [dag_id for example in EXAMPLES for dag_id in example.triggered]
ROUNDS = 3
RUN_TIMEOUT = 400
# Words of one way to run a task alone.
VARIES = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"  # ids
    r"|0x[0-9a-f]+"
    r"|/tmp/\S+"
    r"|\d[\d.:T+-]*Z?"  # times, numbers of processes
)

pytestmark = pytest.mark.e2e

# By DAG, task with its place among mapped ones, and try: what each of the runs has, sorted.
Found = dict[tuple[str, str, str], list[tuple[str, ...]]]


@dataclass
class Outcome:
    """What all runs on one Airflow came to."""

    runs: dict[str, list[str]] = field(default_factory=dict)
    states: Found = field(default_factory=dict)
    logs: Found = field(default_factory=dict)


def normalised(text: str, home: Path) -> str:
    return VARIES.sub("*", text.replace(str(home), "HOME"))


def of_dag(dag_id: str, found: Found) -> Found:
    return {key: several for key, several in found.items() if key[0] == dag_id}


def log_lines(path: Path, home: Path) -> tuple[str, ...]:
    """What a log says, without what differs each time; in no order, as it has several sources."""
    lines = []
    for text in path.read_text(errors="replace").splitlines():
        line = json.loads(text)
        errors = [one.get("exc_type") for one in line.get("error_detail") or ()]
        what = f"{line.get('level')} {line['event']} {errors or ''}"
        lines.append(normalised(what, home))
    return tuple(sorted(lines))


def run_all(stack: AirflowStack, needs: tuple[Child, ...] = ()) -> Outcome:
    client, found = stack.client, Outcome()
    stack.wait_dags(TRIGGERED)
    for _ in range(ROUNDS):
        runs = {(dag_id, client.trigger(dag_id)) for dag_id in TRIGGERED}
        states = client.wait_runs(runs, timeout=RUN_TIMEOUT, needs=[*stack.children(), *needs])
        for (dag_id, _), state in states.items():
            found.runs.setdefault(dag_id, []).append(state)
        for task in client.tasks():
            if (task.dag_id, task.run_id) in runs:
                key = task.dag_id, task.task_id, str(task.map_index)
                found.states.setdefault(key, []).append((task.state, str(task.try_number)))
        for dag_id, run_id in runs:
            folder = stack.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}"
            for path in folder.rglob("attempt=*.log"):
                key = dag_id, str(path.relative_to(folder).parent), path.name
                found.logs.setdefault(key, []).append(log_lines(path, stack.home))
    for each in (found.states, found.logs):
        for several in each.values():
            several.sort()
    return found


@pytest.fixture(scope="module")
def local(under_local_executor: Callable[..., Outcome]) -> Outcome:
    return under_local_executor("differential-local", EXAMPLES, run_all)


@pytest.fixture(scope="module")
def zk(
    session_folder: Path, airflow_database: Callable[[], str], zookeeper: ZooKeeperServer
) -> Outcome:
    stack = AirflowStack(
        session_folder / "differential-zk",
        database=airflow_database(),
        executor=ZK_EXECUTOR,
        options=zk_executor_options(zookeeper, "/test-differential"),
    )
    for example in EXAMPLES:
        stack.add_dags(example.files)
    worker = ZkWorker(stack.home, stack.env, name="localhost", slots=16, http_port=stack.log_port)
    try:
        stack.launch()
        with worker:
            stack.wait_healthy()
            found = run_all(stack, (worker.process,))
            warm = counted(worker.http, "zkexec_worker_forked_total", 'from="warm"')
            every = counted(worker.http, "zkexec_worker_forked_total", "from=")
            # The first task of a file finds out where it lies, the second has its process made.
            assert warm > every / 2
            return found
    finally:
        stack.stop()


def test_every_example_is_compared_or_left_out_for_a_reason() -> None:
    compared = {example.module for example in EXAMPLES}
    assert not compared & LEFT_OUT.keys()
    assert compared | LEFT_OUT.keys() == installed_modules()


@pytest.mark.parametrize("dag_id", TRIGGERED)
def test_example_ends_and_says_the_same_three_times_under_both_executors(
    local: Outcome, zk: Outcome, dag_id: str
) -> None:
    assert zk.runs[dag_id] == local.runs[dag_id]
    assert of_dag(dag_id, local.states)
    for theirs, ours in ((local.states, zk.states), (local.logs, zk.logs)):
        assert of_dag(dag_id, ours) == of_dag(dag_id, theirs)


def test_logs_of_most_examples_were_compared(local: Outcome) -> None:
    """Not of those whose tasks are all empty: the scheduler ends them itself."""
    with_logs = {dag_id for dag_id, _, _ in local.logs}
    assert len(with_logs) > 0.7 * len(TRIGGERED)
