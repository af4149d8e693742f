#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures what a lock costs: uncontended, with a connection of its own, and handed over.

    make bench-locks
    make bench-locks BENCH_ARGS='--rounds 1000'

Starts three ZooKeeper servers of its own in a temporary folder, on free ports, with fsync. Stdout
gets one line of JSON at its end, all in milliseconds: lock_p50_ms and lock_p99_ms (acquire and
release, on a client that is connected), connect_and_lock_p50_ms (with a new session for each),
handover_p50_ms (from one holder's release to the next one's hold, in two sessions).
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from kazoo.client import KazooClient  # noqa: E402

from devstack import ZooKeeperEnsemble  # noqa: E402
from zk_executor.locks import zk_lock  # noqa: E402
from zk_executor.locks.sessions import close_client, note_session_timeout  # noqa: E402


def connect(hosts: str) -> KazooClient:
    client = note_session_timeout(KazooClient(hosts))
    client.start()
    return client


def uncontended(client: KazooClient, rounds: int) -> list[float]:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        with zk_lock("/bench/uncontended", client=client):
            pass
        times.append(time.perf_counter() - began)
    return times


def with_a_session(hosts: str, rounds: int) -> list[float]:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        client = connect(hosts)
        with zk_lock("/bench/session", client=client):
            pass
        close_client(client)
        times.append(time.perf_counter() - began)
    return times


def handed_over(first: KazooClient, second: KazooClient, rounds: int) -> list[float]:
    times = []
    for _ in range(rounds):
        held = threading.Event()
        when: list[float] = []

        def wait(held: threading.Event = held, when: list[float] = when) -> None:
            lock = zk_lock("/bench/handover", client=second)
            lock.acquire()
            when.append(time.perf_counter())
            held.set()
            lock.release()

        lock = zk_lock("/bench/handover", client=first)
        lock.acquire()
        waiter = threading.Thread(target=wait)
        waiter.start()
        while len(first.get_children("/bench/handover")) < 2:
            pass
        began = time.perf_counter()
        lock.release()
        held.wait(60)
        waiter.join()
        times.append(when[0] - began)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=300)
    rounds = parser.parse_args().rounds
    logging.getLogger("kazoo").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, ZooKeeperEnsemble(Path(folder)) as servers:
        clients = [connect(servers.hosts) for _ in range(2)]
        uncontended(clients[0], 50)
        times = uncontended(clients[0], rounds)
        figures = {
            "lock_p50_ms": statistics.median(times),
            "lock_p99_ms": statistics.quantiles(times, n=100)[98],
            "connect_and_lock_p50_ms": statistics.median(
                with_a_session(servers.hosts, max(5, rounds // 10))
            ),
            "handover_p50_ms": statistics.median(
                handed_over(clients[0], clients[1], max(5, rounds // 10))
            ),
        }
        for client in clients:
            close_client(client)
    print(json.dumps({name: round(value * 1000, 2) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
