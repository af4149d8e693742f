# SPDX-License-Identifier: Apache-2.0
"""Running DAGs and collecting when everything happened to each task.

Threads: main thread only. Errors: DevStackError.
"""

from __future__ import annotations

import time
from typing import Any

from devstack import DevStackError
from tasks import figures
from tasks.figures import FanRun, Sample
from tasks.lab import Airflow, Worker
from tasks.logs import user_code

# How long a worker may hold a slot after the last task before we call it lost.
FREED_TIMEOUT_S = 30
_TASKS = """
    SELECT task_id, map_index, external_executor_id, EXTRACT(EPOCH FROM queued_dttm)::float8,
           EXTRACT(EPOCH FROM end_date)::float8
    FROM task_instance WHERE dag_id = %s AND run_id = %s
"""


def run(airflow: Airflow, worker: Worker, dag_id: str) -> list[Sample]:
    """Trigger a DAG, wait for its end and until the worker has freed every slot."""
    run_id = airflow.trigger(dag_id)
    airflow.wait_run(worker, dag_id, run_id)
    code = user_code(airflow.lines("ended", run_id))
    rows = airflow.query(_TASKS, dag_id, run_id)
    deadline = time.monotonic() + FREED_TIMEOUT_S
    while True:
        holds = worker.holds()
        samples = [
            Sample(queued, holds.get(dispatch), code.get((dag_id, run_id, task, index)), ended)
            for task, index, dispatch, queued, ended in rows
        ]
        if all(sample.complete() for sample in samples):
            return samples
        if time.monotonic() > deadline:
            raise DevStackError(
                f"{dag_id} {run_id}: the worker's log lacks times of tasks\n{worker.child.tail()}"
            )
        time.sleep(0.1)


def warm_up(airflow: Airflow, worker: Worker) -> None:
    """Every pool process has run tasks, and what the files import is known and imported ahead."""
    run(airflow, worker, "fan")
    for suffix in _suffixes(airflow):
        # The first task of a file tells where it lies, the next ones that it is worth a process.
        run(airflow, worker, f"chain{suffix}")
        run(airflow, worker, f"chain{suffix}")


def starts(airflow: Airflow, worker: Worker) -> dict[str, Any]:
    """Chains: one task at a time, so that each start is seen by itself."""
    found: dict[str, Any] = {}
    for suffix in _suffixes(airflow):
        samples = []
        for _ in range(airflow.lab.sizes.repeats):
            samples += run(airflow, worker, f"chain{suffix}")
        found |= figures.of_chain(samples, "pandas_" if suffix else "")
    return found


def fans(airflow: Airflow, worker: Worker) -> dict[str, Any]:
    """Mapped tasks, as many at once as there are slots: throughput, and CPU for each."""
    found: dict[str, Any] = {}
    for suffix in _suffixes(airflow):
        runs = [_fan(airflow, worker, f"fan{suffix}") for _ in range(airflow.lab.sizes.repeats)]
        found |= figures.of_fans(runs, "pandas_" if suffix else "")
    return found


def _fan(airflow: Airflow, worker: Worker, dag_id: str) -> FanRun:
    settle_s = airflow.lab.sizes.settle_s
    time.sleep(1)
    idle = _Cpu(airflow, worker)
    time.sleep(settle_s)
    idle_per_s = idle.per_second()
    busy = _Cpu(airflow, worker)
    faults = worker.page_faults()
    samples = run(airflow, worker, dag_id)
    time.sleep(1)  # the last processes end
    faults = worker.page_faults() - faults
    return FanRun(samples, busy.used(), idle_per_s, busy.seconds(), faults)


class _Cpu:
    """CPU seconds by process family since it was made."""

    def __init__(self, airflow: Airflow, worker: Worker) -> None:
        self._airflow, self._worker = airflow, worker
        self._since = time.monotonic()
        self._before = self._now()

    def _now(self) -> dict[str, float]:
        return {
            "worker": self._worker.cpu_seconds(),
            "api_server": self._airflow.component_cpu_seconds("api-server"),
            "scheduler": self._airflow.component_cpu_seconds("scheduler"),
        }

    def used(self) -> dict[str, float]:
        return {name: value - self._before[name] for name, value in self._now().items()}

    def seconds(self) -> float:
        return time.monotonic() - self._since

    def per_second(self) -> dict[str, float]:
        return {name: value / self.seconds() for name, value in self.used().items()}


def _suffixes(airflow: Airflow) -> list[str]:
    return ["", "_pandas"] if airflow.lab.pandas else [""]
