# SPDX-License-Identifier: Apache-2.0
"""Measures how soon ZooKeeper knows of a worker's death.

    tools/measure_loss.py [--rounds 10] [--runs 8]

Each round starts a zk-worker (sessions of 30 s, a zygote without Airflow), gives it runs that
sleep, kills one process with SIGKILL and waits, by watches, until the worker's node, all its claims
and its control node are gone. Prints milliseconds from the signal: median, lowest, highest.
"""

from __future__ import annotations

import argparse
import os
import queue
import signal
import statistics
import tempfile
import time
from pathlib import Path

from kazoo.client import KazooClient

from devstack import ZkWorker, ZooKeeperServer, fake_python, wait_until
from devstack.tables import table
from zk_executor import _core

SECRET = "an encryption key for tests"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--runs", type=int, default=8)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name, ZooKeeperServer(Path(name) / "zk") as zookeeper:
        for victim in ("worker process", "guardian"):
            rounds = [
                measure(Path(name) / f"{victim}-{number}", zookeeper, victim, options.runs)
                for number in range(options.rounds)
            ]
            for what in rounds[0]:
                times = [one[what] * 1000 for one in rounds]
                figures = (statistics.median(times), min(times), max(times))
                rows.append((victim, what, *(f"{value:.0f}" for value in figures)))
    print(table(("killed", "gone", "median ms", "lowest", "highest"), rows))


def measure(folder: Path, zookeeper: ZooKeeperServer, victim: str, runs: int) -> dict[str, float]:
    """Seconds from the signal until each thing is gone."""
    folder.mkdir()
    root = f"/{folder.name.replace(' ', '-')}"
    python = fake_python(folder, hosts=zookeeper.hosts, root=root, slots=runs)
    worker = ZkWorker(folder, os.environ, name="w", slots=runs, python=python)
    session = _core.Session(
        hosts=zookeeper.hosts,
        root=root,
        team="default",
        scheduler_id="measure",
        session_timeout_ms=10000,
        partitions=4,
        encryption_secret=SECRET.encode(),
        digest_auth="",
        max_workload_bytes=100_000,
    )
    kazoo = KazooClient(zookeeper.hosts)
    kazoo.start()
    session.start()
    base = f"{root}/default"
    gone: queue.Queue[tuple[str, float]] = queue.Queue()

    def claims() -> list[str]:
        return [
            f"{base}/running/default/{partition}/{run}/{claim}"
            for partition in kazoo.get_children(f"{base}/running/default")
            for run in kazoo.get_children(f"{base}/running/default/{partition}")
            for claim in kazoo.get_children(f"{base}/running/default/{partition}/{run}")
        ]

    try:
        with worker:
            session.place([placement(number) for number in range(runs)])
            wait_until(
                lambda: worker.output().count("start dispatch=") == runs,
                "the runs",
                timeout=60,
                needs=[worker.process],
            )
            watched = [("claims", path) for path in claims()]
            watched.append(("worker node", f"{base}/workers/{worker.full_name}"))
            watched.append(("control node", f"{base}/control/{worker.full_name}"))
            for what, path in watched:
                kazoo.exists(path, watch=lambda _, what=what: gone.put((what, time.monotonic())))
            pid = worker.worker_pid if victim == "worker process" else worker.process.pid
            struck = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            last: dict[str, float] = {}
            for _ in watched:
                what, at = gone.get(timeout=60)
                last[what] = max(last.get(what, 0.0), at - struck)
            return last
    finally:
        session.stop(1000)
        kazoo.stop()
        kazoo.close()


def placement(number: int) -> _core.Placement:
    return _core.Placement(
        dispatch_id=f"d{number}",
        queue="default",
        kind="task",
        route_key="f.py",
        slots=1,
        priority=1,
        workload=b"exec sleep 1000",
        label=f"run {number}",
    )


if __name__ == "__main__":
    main()
