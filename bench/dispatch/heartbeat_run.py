# SPDX-License-Identifier: Apache-2.0
"""Times heartbeat() of the real executor with a number of dispatches out. Run by heartbeat.py.

    heartbeat_run.py HOSTS ROOT CALLS OUT...

In a process of its own: it imports Airflow, whose home must be in the environment. Nothing is on
the database. No worker lives, so that what is placed stays out. Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from typing import Any

PLACED_AT_ONCE = 1_000


def workload(number: int) -> Any:
    """As the scheduler makes them."""
    from airflow.executors.workloads import ExecuteTask
    from airflow.executors.workloads.base import BundleInfo
    from airflow.executors.workloads.task import TaskInstanceDTO

    return ExecuteTask(
        token="",
        ti=TaskInstanceDTO(
            id=uuid.uuid4(),
            dag_version_id=uuid.uuid4(),
            task_id=f"task_{number}",
            dag_id="bench",
            run_id="run",
            try_number=1,
            map_index=-1,
            pool_slots=1,
            queue="default",
            priority_weight=1,
            external_executor_id=str(uuid.uuid4()),
        ),
        dag_rel_path=f"file_{number % 200}.py",
        bundle_info=BundleInfo(name="bundle", version="v1"),
        log_path="a.log",
    )


def wait(condition: Any, what: str) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within 120 s: {what}")
        time.sleep(0.02)


def queued(hosts: str, root: str) -> int:
    """How many lie in ZooKeeper."""
    from zk_executor import _core

    queues = _core.inspect_queues(
        hosts=hosts, root=root, team="default", digest_auth="", timeout_ms=30_000
    )
    return sum(queue["depth"] for queue in queues)


def measure(hosts: str, root: str, calls: int, amounts: list[int]) -> dict[str, Any]:
    os.environ["AIRFLOW__ZK_EXECUTOR__HOSTS"] = hosts
    os.environ["AIRFLOW__ZK_EXECUTOR__ROOT"] = root
    from zk_executor import ZkExecutor

    # Room for all, so that parallelism ends no heartbeat early.
    executor = ZkExecutor(parallelism=2 * max(amounts) + 1)
    executor.job_id = 1
    executor.start()
    assert executor._session is not None
    wait(lambda: executor._status().get("connected"), "the session")
    figures: dict[str, Any] = {}
    out = 0
    for amount in sorted(amounts):
        while out < amount:
            # Past what heartbeat() would let out without workers, by the way that it takes.
            batch = [workload(out + i) for i in range(min(PLACED_AT_ONCE, amount - out))]
            for item in batch:
                executor.queue_workload(item, session=None)
            executor._process_workloads(batch)
            out += len(batch)
        if out:
            wait(lambda out=out: queued(hosts, root) == out, f"{out} in ZooKeeper")
        assert len(executor.running) == len(executor._dispatches) == amount
        for _ in range(50):
            executor.heartbeat()
        samples = []
        for _ in range(calls):
            started = time.perf_counter_ns()
            executor.heartbeat()
            samples.append(time.perf_counter_ns() - started)
        samples.sort()
        figures[str(amount)] = {
            "p50_ms": round(samples[len(samples) // 2] / 1e6, 4),
            "p99_ms": round(samples[int(len(samples) * 0.99)] / 1e6, 4),
            "max_ms": round(samples[-1] / 1e6, 3),
        }
    executor.end()
    return figures


if __name__ == "__main__":
    hosts, root, calls, *amounts = sys.argv[1:]
    print(json.dumps(measure(hosts, root, int(calls), [int(amount) for amount in amounts])))
