#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures how fast a changed configuration reaches everybody who watches it.

    make bench-config
    make bench-config BENCH_ARGS='--watchers 5000 --processes 4'

Starts three ZooKeeper servers of its own on free ports. In each process, as in a triggerer, the
watchers are ZnodeChangedTriggers that share one client; a further process with as many values has
them in the cache of ZookeeperSecretsBackend. A time runs from before the change is asked for until
a watcher's event is there, or until the backend answers with the new value. The next change is made
when the last one has reached everybody.

Progress goes to stderr. Stdout gets a table, then one line of JSON, which is also written to
.build/bench/config.json. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import multiprocessing
import os
import queue
import signal
import sys
import tempfile
import threading
import time
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from devstack import ZooKeeperEnsemble, become_subreaper, kill_strays  # noqa: E402
from devstack.tables import table  # noqa: E402

FOLDER = ROOT / ".build" / "bench"
PATH = "/bench/config"
CONN_ID = "bench"
P99_WANTED_MS = 1000.0
WAIT = 120.0


def main() -> int:
    options = parse_arguments()
    become_subreaper()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and clean up
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="config-", dir=FOLDER) as folder:
        prepare_airflow(Path(folder))
        with ZooKeeperEnsemble(Path(folder) / "zookeeper") as ensemble:
            os.environ[f"AIRFLOW_CONN_{CONN_ID.upper()}"] = json.dumps(
                {"conn_type": "zookeeper", "host": ensemble.hosts}
            )
            figures = measure(options, ensemble.hosts)
    kill_strays()
    rows = [[name, value] for name, value in figures.items()]
    print(table(["what", "measured"], rows))
    line = json.dumps(figures)
    (FOLDER / "config.json").write_text(line + "\n")
    print(line)
    return 0


def prepare_airflow(folder: Path) -> None:
    """A home of its own, before anything imports Airflow."""
    for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
        del os.environ[name]
    os.environ["AIRFLOW_HOME"] = str(folder)
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "WARNING"


def measure(options: argparse.Namespace, hosts: str) -> dict[str, Any]:
    from zk_executor.config import plans
    from zk_executor.config.store import ConfigStore
    from zk_executor.hooks.zookeeper import ZookeeperHook

    spawn = multiprocessing.get_context("spawn")
    seen: Queue[Any] = spawn.Queue()
    shares = [
        options.watchers // options.processes + (number < options.watchers % options.processes)
        for number in range(options.processes)
    ]
    with ZookeeperHook(CONN_ID) as hook:
        store = ConfigStore(hook, PATH)
        plans.plan_apply(store, {"value": "0"}).commit("bench")
        processes = [spawn.Process(target=watch, args=(share, seen)) for share in shares]
        processes.append(spawn.Process(target=ask_backend, args=(hosts, options.changes, seen)))
        for process in processes:
            process.start()
        try:
            for _ in processes:
                seen.get(timeout=WAIT)
            say(f"{options.watchers} watchers in {options.processes} processes")
            times: list[float] = []
            backend: list[float] = []
            commits: list[float] = []
            for number in range(1, options.changes + 1):
                began = time.monotonic()
                plans.plan_set(store, "value", number).commit("bench")
                commits.append(time.monotonic() - began)
                for _ in processes:
                    kind, arrived = seen.get(timeout=WAIT)
                    into = times if kind == "watchers" else backend
                    into += [at - began for at in arrived]
        finally:
            for process in processes:
                process.terminate()
                process.join()
    return {
        "config_watchers": options.watchers,
        "config_processes": options.processes,
        "config_changes": options.changes,
        "config_change_p50_ms": percentile(times, 50),
        "config_change_p99_ms": percentile(times, 99),
        "config_change_max_ms": percentile(times, 100),
        "config_change_p99_ms_wanted": P99_WANTED_MS,
        "secrets_change_p99_ms": percentile(backend, 99),
        "config_commit_p50_ms": percentile(commits, 50),
    }


def watch(count: int, seen: Queue[Any]) -> None:
    """In a process of its own: tells when its watchers stand, and of each change who saw it when.

    A watcher that is told of a change watches again before it is told of the next.
    """
    from zk_executor.triggers.waiting import connect
    from zk_executor.triggers.zookeeper import ZnodeChangedTrigger

    logging.disable(logging.INFO)
    trigger = ZnodeChangedTrigger(PATH, conn_id=CONN_ID, tree=True)
    arrived: dict[int, list[float]] = {}

    async def one() -> None:
        async for event in ZnodeChangedTrigger(PATH, conn_id=CONN_ID, tree=True).run():
            times = arrived.setdefault(event.payload["mzxid"], [])
            times.append(time.monotonic())
            if len(times) == count:
                seen.put(("watchers", times))

    async def main() -> None:
        client = await connect(CONN_ID)
        tasks = [asyncio.create_task(one()) for _ in range(count)]
        while len(client._data_watchers.get(trigger.node, ())) < count:
            await asyncio.sleep(0.01)
        seen.put("ready")
        await asyncio.gather(*tasks)

    asyncio.run(main())


def ask_backend(hosts: str, changes: int, seen: Queue[Any]) -> None:
    """In a process of its own: tells when the secrets backend first answers with each value."""
    from zk_executor.secrets.zookeeper import ZookeeperSecretsBackend

    backend = ZookeeperSecretsBackend(hosts, variables_path=PATH, patience=30)
    assert backend.get_variable("value") == "0"
    seen.put("ready")
    for number in range(1, changes + 1):
        while backend.get_variable("value") != str(number):
            time.sleep(0.001)
        seen.put(("backend", [time.monotonic()]))
    threading.Event().wait()


def percentile(seconds: list[float], share: float) -> float | None:
    if not seconds:
        return None
    ordered = sorted(seconds)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share / 100))] * 1000, 2)


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--watchers", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--changes", type=int, default=50)
    parser.add_argument("--quick", action="store_true", help="10 changes: does it work?")
    options = parser.parse_args()
    if options.quick:
        options.changes = 10
    return options


if __name__ == "__main__":
    try:
        sys.exit(main())
    except queue.Empty:
        say(f"a change did not reach everybody within {WAIT:g} s")
        sys.exit(1)
