# SPDX-License-Identifier: Apache-2.0
"""How long Airflow knows nothing when a worker, its host, or ZooKeeper is gone.

The worker is the installed zk-worker at its default settings; its Python side is fake_zygote.py,
which holds what it is given. The times run from the signal to the moment at which the executor's
session hands the events over.

Threads: main thread only. Errors: DevStackError.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kazoo.client import KazooClient

from devstack import Child, DevStackError, ZooKeeperServer, wait_until
from dispatch.measures import median
from dispatch.programs import Bench, Driver, NoopWorkers

ZYGOTE = Path(__file__).resolve().with_name("fake_zygote.py")
SECRET = "secret-of-the-benchmark"
# zk_executor's defaults; the durations of production.
SESSION_TIMEOUT_MS = 15_000
RUNS = 8
NAMESPACE = f"zkbench{os.getpid()}"
OUTSIDE, INSIDE = "169.254.77.1", "169.254.77.2"


def _handshake(root: str, hosts: str, folder: Path) -> dict[str, Any]:
    return {
        "airflow_version": "bench",
        "sdk_version": "bench",
        "zk_executor_version": "bench",
        "hosts": hosts,
        "root": root,
        "digest_auth": "",
        "session_timeout_ms": SESSION_TIMEOUT_MS,
        "partitions": 64,
        "secret": SECRET,
        "slots": 16,
        "slots_max": 16,
        "queues": ["default"],
        "configured_host": "",
        "hostname": "bench",
        "http_host": "127.0.0.1",
        "http_port": 0,
        "drain_timeout_ms": 1000,
        "kill_grace_ms": 1000,
        "relist_interval_ms": 5000,
        "journal_dir": str(folder / "journal"),
        "log_level": "info",
        "preload": [],
        "api_secret_key": SECRET,
        "base_log_folder": str(folder),
        "log_clock_grace_s": 30,
        "execution_api_server_url": "http://127.0.0.1:1/execution/",
        "bundle_cleanup_interval_s": 1800,
    }


@contextlib.contextmanager
def _holding(
    bench: Bench, zookeeper: ZooKeeperServer, root: str, *inside: str
) -> Iterator[tuple[Any, int]]:
    """A session with RUNS dispatches that a worker holds, and the pid in the worker's node."""
    from zk_executor import _core

    hosts = zookeeper.hosts
    folder = bench.folder / root.strip("/")
    program = Path(sys.executable).with_name("zk-worker")
    worker = Child(
        "zk-worker",
        [*inside, program, "--python", ZYGOTE, "--name", "victim", "--http-port", "0"],
        log=folder / "zk-worker.log",
        env={**os.environ, "BENCH_HANDSHAKE": json.dumps(_handshake(root, hosts, folder))},
    )
    session = _core.Session(
        hosts=hosts,
        root=root,
        team="default",
        scheduler_id="bench",
        session_timeout_ms=SESSION_TIMEOUT_MS,
        partitions=64,
        encryption_secret=SECRET.encode(),
        digest_auth="",
        max_workload_bytes=524288,
    )

    def held() -> int | None:
        with contextlib.suppress(_core.ZkError):
            for seen in _core.inspect_workers(
                hosts=hosts, root=root, team="default", digest_auth="", timeout_ms=5000
            ):
                if seen["running"] == RUNS:
                    return seen["pid"]
        return None

    session.start()
    worker.start()
    try:
        wait_until(lambda: session.status()["live_workers"] == 1, "the worker", timeout=60)
        session.place(
            [
                _core.Placement(
                    dispatch_id=f"held-{number}",
                    queue="default",
                    kind="task",
                    route_key="bench",
                    slots=1,
                    priority=1,
                    workload=b"{}",
                    label="bench",
                )
                for number in range(RUNS)
            ]
        )
        pid = wait_until(held, f"{RUNS} runs", timeout=60, needs=[worker], interval=0.2)
        # Marked as started, too: what is not goes back to its queue, and no event comes of it.
        wait_until(
            lambda: _marked(hosts, root) == RUNS,
            f"{RUNS} runs marked as started",
            timeout=60,
            needs=[worker],
            interval=0.2,
        )
        yield session, pid
    finally:
        session.stop(2000)
        worker.kill()


def _marked(hosts: str, root: str) -> int:
    """How many running nodes were written again since their claim: that is the mark."""
    client = KazooClient(hosts)
    client.start()
    try:
        marked = 0
        runs = f"{root}/default/running/default"
        for partition in client.get_children(runs):
            for run in client.get_children(f"{runs}/{partition}"):
                stat = client.exists(f"{runs}/{partition}/{run}")
                marked += bool(stat and stat.version)
        return marked
    finally:
        client.stop()
        client.close()


def _time_to_events(session: Any, strike: Callable[[], None]) -> dict[str, Any]:
    first, events = 0.0, []
    struck = time.monotonic()
    strike()
    deadline = struck + 120
    while len(events) < RUNS:
        if time.monotonic() > deadline:
            raise DevStackError(f"{len(events)} of {RUNS} events within 120 s")
        events += session.drain_events()
        if events and not first:
            first = time.monotonic() - struck
        time.sleep(0.01)
    return {
        "first_s": round(first, 2),
        "all_s": round(time.monotonic() - struck, 2),
        "outcomes": sorted({event.outcome for event in events}),
        "info": events[0].info,
    }


def worker_kill(bench: Bench) -> dict[str, Any]:
    """SIGKILL of a worker's process, to the events of the tasks that it held."""
    tries = []
    for _ in range(1 if bench.quick else bench.repeats):
        root = bench.new_root("worker-kill")
        with _holding(bench, bench.zookeeper, root) as (session, pid):
            tries.append(_time_to_events(session, lambda pid=pid: os.kill(pid, signal.SIGKILL)))
        bench.say(f"  {tries[-1]}")
    return {"worker_kill_s": median((one["all_s"] for one in tries), 2), "worker_kill": tries}


def host_gone(bench: Bench) -> dict[str, Any]:
    """A worker's host falls silent (its network link is cut), to the events of its tasks."""
    problem = _make_link()
    if problem:
        _remove_link()
        bench.say(f"  skipped: {problem}")
        return {"host_gone_s": None, "host_gone": problem}
    root = bench.new_root("host-gone")
    try:
        tries = []
        with ZooKeeperServer(bench.folder / "zookeeper-linked", address=OUTSIDE) as zookeeper:
            for _ in range(1 if bench.quick else bench.repeats):
                _ip("link", "set", NAMESPACE, "up")
                inside = (shutil.which("ip") or "ip", "netns", "exec", NAMESPACE)
                with _holding(bench, zookeeper, root, *inside) as (session, _):
                    tries.append(
                        _time_to_events(session, lambda: _ip("link", "set", NAMESPACE, "down"))
                    )
                bench.say(f"  {tries[-1]}")
    finally:
        _remove_link()
    return {"host_gone_s": median((one["all_s"] for one in tries), 2), "host_gone": tries}


def _make_link() -> str:
    """Make a network namespace with a cable to it; the problem if that cannot be done here."""
    if os.geteuid() or not shutil.which("ip"):
        return "needs root and the ip program"
    steps = (
        ("netns", "add", NAMESPACE),
        ("link", "add", NAMESPACE, "type", "veth", "peer", "name", "eth0", "netns", NAMESPACE),
        ("addr", "add", f"{OUTSIDE}/30", "dev", NAMESPACE),
        ("link", "set", NAMESPACE, "up"),
        ("-n", NAMESPACE, "addr", "add", f"{INSIDE}/30", "dev", "eth0"),
        ("-n", NAMESPACE, "link", "set", "eth0", "up"),
        ("-n", NAMESPACE, "link", "set", "lo", "up"),
    )
    for step in steps:
        if problem := _ip(*step):
            return problem
    return ""


def _remove_link() -> None:
    _ip("link", "del", NAMESPACE)
    _ip("netns", "del", NAMESPACE)


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    return f"ip {' '.join(words)}: {done.stderr.strip()}" if done.returncode else ""


def zookeeper_restart(bench: Bench) -> dict[str, Any]:
    """SIGKILL and restart of ZooKeeper while 500/s flow: the longest time without a result."""
    root = bench.new_root("restart")
    seconds = 12 if bench.quick else 25
    with ZooKeeperServer(bench.folder / "zookeeper-restarted") as zookeeper:
        own = Bench(zookeeper, bench.folder, bench.quick, counter=bench.counter)
        with NoopWorkers(own, root, processes=4) as workers, Driver(own, root) as driver:
            driver.wait_workers(workers.count)
            driver.run(2_000, rate=500)
            driver.send("run", 500 * seconds, 0, 500, "restart")
            time.sleep(3)
            killed = time.monotonic()
            zookeeper.kill()
            zookeeper.start()
            serving = time.monotonic() - killed
            run = driver.answer()
    return {
        "zookeeper_restart_s": round(run["longest_gap_s"], 2),
        "zookeeper_restart": {
            "server_away_s": round(serving, 2),
            "outcomes": run["outcomes"],
            "unfinished": run["unfinished"],
        },
    }
