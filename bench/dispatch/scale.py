# SPDX-License-Identifier: Apache-2.0
"""Much of everything: a hundred thousand entries, a thousand workers; and a ninth worker.

Threads: main thread only. Errors: DevStackError.
"""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any

from devstack import DevStackError, wait_until
from dispatch.measures import percentile_ms
from dispatch.programs import RING_SHARE, Bench, Driver, NoopWorkers

STEP = 10_000
LIST_TIMEOUT_MS = 120_000
# Airflow's default; a Java client refuses larger answers, and any server larger requests.
JUTE_MAXBUFFER = 1_048_575


def backlog(bench: Bench) -> dict[str, Any]:
    """100,000 queued: time to place, list and drain each 10,000 of them; the largest listing."""
    from zk_executor import _core

    root = bench.new_root("backlog")
    steps = 2 if bench.quick else 10
    step = 1_000 if bench.quick else STEP
    placing = []
    with Driver(bench, root) as driver:
        wait_until(lambda: driver.ask("status")["connected"], "the driver to connect", timeout=30)
        # The first placement makes the queue.
        driver.ask("place", 1, "backlog")
        wait_until(lambda: _queued(bench, root) == 1, "the first entry", timeout=30)
        before = _nodes(bench)
        for number in range(1, steps + 1):
            started = time.monotonic()
            driver.ask("place", step, "backlog")
            wait_until(
                lambda number=number: _nodes(bench) - before >= number * step,
                f"{number * step} entries",
                timeout=300,
                interval=0.02,
            )
            placing.append(time.monotonic() - started)
            bench.say(f"  placed {number * step}: {placing[-1]:.2f} s")
        started = time.monotonic()
        (queue,) = _core.inspect_queues(
            hosts=bench.zookeeper.hosts,
            root=root,
            team="default",
            digest_auth="",
            timeout_ms=LIST_TIMEOUT_MS,
        )
        list_s = time.monotonic() - started
        largest_entries, largest_bytes = _largest_listing(bench, root)
        with NoopWorkers(bench, root, processes=4, register_timeout=120):
            drained = driver.ask("drain", step)
    marks = [0.0, *drained["marks_s"]]
    draining = [b - a for a, b in zip(marks, marks[1:], strict=False)]
    return {
        "backlog_100k": {
            "queued": queue["depth"],
            "place_s": round(sum(placing), 2),
            "place_s_each_10k": [round(seconds, 2) for seconds in placing],
            "list_s": round(list_s, 2),
            "largest_partition_entries": largest_entries,
            "largest_listing_bytes": largest_bytes,
            "largest_listing_of_maxbuffer": round(largest_bytes / JUTE_MAXBUFFER, 3),
            "drain_s": round(drained["seconds"], 2),
            "drain_per_s": round(drained["per_s"]),
            "drain_s_each_10k": [round(seconds, 2) for seconds in draining],
            "unfinished": drained["unfinished"],
            "outcomes": drained["outcomes"],
            "driver_peak_mb": round(drained["peak_mb"]),
        }
    }


def _nodes(bench: Bench) -> int:
    for line in bench.zookeeper.ask("srvr").splitlines():
        if line.startswith("Node count:"):
            return int(line.partition(":")[2])
    return 0


def _queued(bench: Bench, root: str) -> int:
    from zk_executor import _core

    try:
        queues = _core.inspect_queues(
            hosts=bench.zookeeper.hosts, root=root, team="default", digest_auth="", timeout_ms=5000
        )
    except _core.ZkError:
        return 0
    return sum(queue["depth"] for queue in queues)


def _largest_listing(bench: Bench, root: str) -> tuple[int, int]:
    """Entries in the fullest partition, and how many bytes ZooKeeper answers its listing with."""
    from kazoo.client import KazooClient

    client = KazooClient(hosts=bench.zookeeper.hosts, read_only=False)
    client.start(timeout=20)
    try:
        queue = f"{root}/default/queues/default"
        listings = [client.get_children(f"{queue}/{name}") for name in client.get_children(queue)]
    finally:
        client.stop()
        client.close()
    # Each name comes with four bytes of length; the answer has a header of sixteen, and a count.
    sizes = [(20 + sum(4 + len(name) for name in names), len(names)) for names in listings]
    size, entries = max(sizes)
    return entries, size


def thousand_workers(bench: Bench) -> dict[str, Any]:
    """1,000 workers, each with a session, in two processes: time to register, speed, latency."""
    wanted, partitions = (20, 64) if bench.quick else (1_000, 1_024)
    root = bench.new_root("thousand")
    count = 1_000 if bench.quick else 20_000
    figures: dict[str, Any] = {"workers": wanted, "partitions": partitions}
    workers = NoopWorkers(
        bench,
        root,
        processes=2,
        workers_each=wanted // 2,
        slots=16,
        partitions=partitions,
        register_timeout=300,
    )
    try:
        with Driver(bench, root, partitions=partitions, stall_s=30) as driver:
            started = time.monotonic()
            workers.start()
            figures["register_s"] = round(time.monotonic() - started, 1)
            bench.say(f"  {wanted} workers registered in {figures['register_s']} s")
            driver.wait_workers(wanted, timeout=300)
            figures["seen_by_executor_s"] = round(time.monotonic() - started, 1)
            driver.run(count // 4, outstanding=1_000)
            run = driver.run(count, outstanding=4_000, tag="full")
            figures["noop_per_s"] = round(run["per_s"])
            figures["unfinished"] = run["unfinished"]
            paced = driver.run(200 * (2 if bench.quick else 10), rate=200, tag="paced")
            figures["unfinished"] += paced["unfinished"]
            latency = workers.stop()["latency_us"]
            figures["claim_p50_ms_at_200_s"] = percentile_ms(latency.get("paced", []), 50)
            figures["claim_p99_ms_at_200_s"] = percentile_ms(latency.get("paced", []), 99)
    except DevStackError as error:
        figures["gave_up"] = str(error).splitlines()[0]
        bench.say(f"  gave up: {figures['gave_up']}")
    finally:
        workers.kill()
    return {"thousand_workers": figures}


def moved_share(bench: Bench) -> dict[str, Any]:
    """Which share of a queue's partitions moves when a ninth worker joins eight; ideal is 1/9."""
    shares = json.loads(subprocess.check_output([RING_SHARE], text=True))
    return {
        "moved_share_9th_worker": round(shares["64"]["median"], 3),
        "moved_share": {
            key: {name: round(share, 3) for name, share in value.items()}
            for key, value in shares.items()
            if isinstance(value, dict)
        },
    }
