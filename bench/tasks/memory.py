# SPDX-License-Identifier: Apache-2.0
"""What a worker that has been used needs of memory, idle and with running tasks.

Threads: main thread only. Errors: DevStackError.
"""

from __future__ import annotations

import time
from typing import Any

from tasks import flows
from tasks.configurations import Configuration
from tasks.lab import Airflow, Worker


def few(airflow: Airflow, worker: Worker) -> dict[str, Any]:
    """The worker that ran everything else: idle, and with all its slots taken."""
    return _measure(airflow, worker, airflow.lab.sizes.few)


def some(airflow: Airflow, configuration: Configuration) -> dict[str, Any]:
    """Another worker with more slots, used as well."""
    count = airflow.lab.sizes.some
    with airflow.worker(configuration, count) as worker:
        flows.run(airflow, worker, "fan")
        return _measure(airflow, worker, count)


def _measure(airflow: Airflow, worker: Worker, count: int) -> dict[str, Any]:
    settle_s = airflow.lab.sizes.settle_s
    time.sleep(settle_s)
    idle = worker.memory()
    with airflow.tasks_waiting(worker, count):
        time.sleep(settle_s)
        busy = worker.memory()
    return {
        f"idle_{count}_slots_pss_mb": idle.pss_mb,
        f"idle_{count}_slots_processes": idle.processes,
        f"running_{count}_pss_mb": busy.pss_mb,
        f"pss_per_running_{count}_mb": round((busy.pss_mb - idle.pss_mb) / count, 1),
    }
