# SPDX-License-Identifier: Apache-2.0
"""A worker with hundreds of tasks that do nothing: does it still answer at once?

Claims are of dispatches that we place ourselves, one after the other, through the executor's
session; their tasks don't exist, so each ends when the API server refuses it. Metrics and logs
are asked for over HTTP, as Prometheus and the API server do it.

Threads: main thread only. Errors: DevStackError.
"""

from __future__ import annotations

import dataclasses
import http.client
import json
import time
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from devstack import wait_until
from tasks import figures, flows
from tasks.configurations import BEST
from tasks.lab import Airflow, Worker

PAUSE_S = 0.2
# By default every task sends one each 5 s: 500 of them are more than an API server on this machine
# can answer, and it would be measured instead of the worker.
SELDOM = {"AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "60"}
SCHEDULER = "bench-sleeping"


def many(airflow: Airflow) -> dict[str, Any]:
    """Many waiting tasks in one worker: its answers, its memory, its CPU."""
    sizes = airflow.lab.sizes
    calm = dataclasses.replace(BEST, options={**BEST.options, **SELDOM})
    with airflow.worker(calm, sizes.many + 8) as worker:
        flows.run(airflow, worker, "chain")
        with airflow.tasks_waiting(worker, sizes.many) as run_id:
            time.sleep(2 * sizes.settle_s)
            cpu, since = worker.cpu_seconds(), time.monotonic()
            time.sleep(2 * sizes.settle_s)
            cpu = (worker.cpu_seconds() - cpu) / (time.monotonic() - since)
            rounds = 10 if sizes.many < 100 else 50
            found = {
                "tasks": sizes.many,
                "pss_mb": worker.memory().pss_mb,
                "worker_cpu_percent": round(100 * cpu, 1),
                **figures.latency(_claims(airflow, worker, rounds), "claim"),
                **figures.latency(_metrics(worker, rounds), "metrics"),
                **figures.latency(_logs(airflow, worker, run_id, rounds), "log"),
            }
            found["responds_max_ms"] = max(
                found[f"{w}_max_ms"] for w in ("claim", "metrics", "log")
            )
    return {"sleeping": found}


def _claims(airflow: Airflow, worker: Worker, rounds: int) -> list[float]:
    """Seconds from each placement until the worker has claimed it."""
    from zk_executor import _core

    env = airflow.stack.env
    session = _core.Session(
        hosts=env["AIRFLOW__ZK_EXECUTOR__HOSTS"],
        root=env["AIRFLOW__ZK_EXECUTOR__ROOT"],
        team="default",
        scheduler_id=SCHEDULER,
        session_timeout_ms=15_000,
        partitions=64,
        encryption_secret=env["AIRFLOW__API__SECRET_KEY"].encode(),
        digest_auth="",
        max_workload_bytes=524288,
    )
    placed: dict[str, float] = {}
    ended: set[str] = set()

    def collected() -> bool:
        ended.update(event.dispatch_id for event in session.drain_events())
        return ended >= placed.keys()

    session.start()
    try:
        wait_until(lambda: session.status()["live_workers"] >= 1, "the worker", timeout=60)
        for _ in range(rounds):
            dispatch = str(uuid.uuid4())
            placed[dispatch] = time.time()
            session.place([_placement(_core, dispatch)])
            time.sleep(PAUSE_S)
        wait_until(collected, f"{rounds} dispatches to end", timeout=120, needs=[worker.child])
    finally:
        session.stop(5000)
    holds = worker.holds()
    return [holds[dispatch].claimed - when for dispatch, when in placed.items()]


def _placement(core: Any, dispatch: str) -> Any:
    ti = {
        "id": str(uuid.uuid4()),
        "dag_version_id": str(uuid.uuid4()),
        "dag_id": "chain",
        "task_id": "not-there",
        "run_id": "not-there",
        "try_number": 1,
        "map_index": -1,
        "pool_slots": 1,
        "queue": "default",
        "priority_weight": 1,
        "external_executor_id": dispatch,
    }
    workload = {
        "type": "ExecuteTask",
        "token": "not-a-token",
        "ti": ti,
        "dag_rel_path": "plain.py",
        "bundle_info": {"name": "dags-folder", "version": None},
        "log_path": f"not-there/{dispatch}.log",
    }
    return core.Placement(
        dispatch_id=dispatch,
        queue="default",
        kind="task",
        route_key="chain",
        slots=1,
        priority=1,
        workload=json.dumps(workload).encode(),
        label="bench",
    )


def _metrics(worker: Worker, rounds: int) -> list[float]:
    return [_get(worker, "/metrics", {}, lambda text: b"zkexec_worker_running" in text)
            for _ in range(rounds)]  # fmt: skip


def _logs(airflow: Airflow, worker: Worker, run_id: str, rounds: int) -> list[float]:
    """Logs of tasks that run."""
    import jwt

    folder = airflow.stack.home / "logs"
    paths = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.glob(f"dag_id=waiting_*/run_id={run_id}/**/*.log")
    )
    seconds = []
    for number in range(rounds):
        path = paths[number % len(paths)]
        now = int(time.time())
        claims = {
            "filename": path,
            "aud": "task-instance-logs",
            "iat": now,
            "nbf": now,
            "exp": now + 30,
        }
        secret = airflow.stack.env["AIRFLOW__API__SECRET_KEY"]
        headers = {"Authorization": jwt.encode(claims, secret, algorithm="HS512")}
        seconds.append(_get(worker, f"/log/{path}", headers, lambda text: b"the gate" in text))
    return seconds


def _get(
    worker: Worker, path: str, headers: dict[str, str], good: Callable[[bytes], bool]
) -> float:
    """Seconds of one request on a connection of its own."""
    time.sleep(PAUSE_S)
    address = urlsplit(worker.http)
    since = time.monotonic()
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    seconds = time.monotonic() - since
    if answer.status != 200 or not good(text):
        from devstack import DevStackError

        raise DevStackError(f"GET {path}: {answer.status} {text[:200]!r}\n{worker.child.tail()}")
    return seconds
