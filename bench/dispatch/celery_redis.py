# SPDX-License-Identifier: Apache-2.0
"""The neighbour: no-op tasks through Celery and Redis, beside ours, in the same run.

Threads: main thread only. Errors: DevStackError.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from devstack import Child, DevStackError, free_port, wait_until
from dispatch.flow import saturated
from dispatch.measures import median
from dispatch.programs import ROOT, Bench

PYTHON = ROOT / ".build" / "bench-venv" / "bin" / "python"
HERE = Path(__file__).resolve().parent
AIRFLOWS_CONCURRENCY = 16


def celery(bench: Bench) -> dict[str, Any]:
    """No-op tasks a second with Celery on Redis, in turns with ours, four workers.

    Celery gets the better of the pool size that Airflow sets and one process a core.
    """
    if not shutil.which("redis-server") or not PYTHON.exists():
        bench.say("  skipped: no redis-server or no .build/bench-venv (tools/bootstrap.sh --bench)")
        return {"celery_noop_per_s": None}
    count = 500 if bench.quick else 5_000
    sizes = sorted({AIRFLOWS_CONCURRENCY, os.cpu_count() or 1})
    ours: list[int] = []
    by_size: dict[int, list[float]] = {size: [] for size in sizes}
    sending: list[float] = []
    for _ in range(bench.repeats):
        for size in sizes:
            with redis_server(bench.folder) as address:
                run = _run(bench, address, size, count)
            by_size[size].append(run["per_s"])
            sending.append(run["send_per_s"])
            bench.say(f"  Celery, {size} processes: {run['per_s']:.0f} tasks/s")
        ours += saturated(bench, 4, repeats=1)["per_s_all"]
    best = max(sizes, key=lambda size: median(by_size[size]))
    return {
        "celery_noop_per_s": median(by_size[best]),
        "celery_ratio": round(median(ours) / median(by_size[best]), 1),
        "celery": {
            "processes": best,
            "ours_in_turns_per_s": ours,
            "send_per_s": median(sending),
            **{f"per_s_{size}": [round(value) for value in by_size[size]] for size in sizes},
            "versions": _versions(),
        },
    }


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """A Redis that writes nothing to disk; its host:port."""
    program = shutil.which("redis-server")
    if not program:
        raise DevStackError("there is no redis-server; on Debian: apt-get install redis-server")
    port = free_port()
    server = Child(
        "redis",
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
        log=folder / "redis.log",
        cwd=folder,
    )
    server.start()
    try:
        wait_until(lambda: _answers(port), "redis", timeout=20, needs=[server])
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(5)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def _run(bench: Bench, address: str, processes: int, count: int) -> dict[str, Any]:
    environment = {**os.environ, "BENCH_REDIS": address, "PYTHONPATH": str(HERE)}
    log = bench.folder / f"celery-{address.rpartition(':')[2]}.log"
    worker = Child(
        "celery worker",
        [
            *(PYTHON, "-m", "celery", "-A", "celery_app", "worker", "--pool=prefork"),
            *(f"--concurrency={processes}", "--queues=default", "--loglevel=WARNING"),
        ],
        log=log,
        env=environment,
        cwd=bench.folder,
    )
    worker.start()
    try:
        wait_until(lambda: " ready." in log.read_text(), "Celery", timeout=60, needs=[worker])
        # The first batch warms the pool up.
        with subprocess.Popen(
            [PYTHON, HERE / "celery_app.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        ) as producer:
            assert producer.stdin is not None and producer.stdout is not None
            answer = ""
            for batch in (count // 5, count):
                producer.stdin.write(f"{batch}\n")
                producer.stdin.flush()
                answer = producer.stdout.readline()
                if not answer:
                    raise DevStackError(f"Celery's producer ended\n{worker.tail()}")
            producer.stdin.close()
        return json.loads(answer)
    finally:
        worker.stop(20)


def _versions() -> dict[str, str]:
    code = (
        "import json, importlib.metadata as m;"
        "print(json.dumps({n: m.version(n) for n in ('celery', 'kombu', 'redis')}))"
    )
    return json.loads(subprocess.check_output([PYTHON, "-c", code], text=True))
