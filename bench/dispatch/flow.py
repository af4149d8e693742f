# SPDX-License-Identifier: Apache-2.0
"""No-op dispatches through: as many as go, and at a steady rate.

Threads: main thread only. Errors: DevStackError.
"""

from __future__ import annotations

from typing import Any

from dispatch.measures import median, percentile_ms
from dispatch.programs import Bench, Driver, NoopWorkers, transactions


def _outstanding(workers: NoopWorkers) -> int:
    """As many as the executor lets out: four for each live slot."""
    return 4 * workers.slots


def warm_up(bench: Bench) -> dict[str, Any]:
    """The server's JIT compiler wants some 500,000 operations before its speed is steady."""
    root = bench.new_root("warm-up")
    with NoopWorkers(bench, root, processes=2) as workers, Driver(bench, root) as driver:
        driver.wait_workers(workers.count)
        driver.run(2_000 if bench.quick else 60_000, outstanding=_outstanding(workers))
    return {}


def _settle(bench: Bench, driver: Driver, workers: NoopWorkers) -> None:
    """Until each worker knows the others: it looks around every five seconds."""
    driver.wait_workers(workers.count)
    driver.run(100 if bench.quick else 1_100, rate=100)


def saturated(bench: Bench, processes: int, repeats: int) -> dict[str, Any]:
    """As fast as it goes with so many worker processes; medians of the repeats."""
    root = bench.new_root(f"throughput-{processes}")
    count = 2_000 if bench.quick else 30_000
    slots = max(64, 256 // processes)
    with (
        NoopWorkers(bench, root, processes=processes, slots=slots) as workers,
        Driver(bench, root) as driver,
    ):
        _settle(bench, driver, workers)
        driver.run(count // 6, outstanding=_outstanding(workers))
        runs, each = [], []
        for number in range(repeats):
            before = transactions(bench.zookeeper)
            run = driver.run(count, outstanding=_outstanding(workers), tag=f"run{number}")
            each.append((transactions(bench.zookeeper) - before) / run["dispatches"])
            runs.append(run)
            bench.say(f"  {processes} workers: {run['per_s']:.0f} dispatches/s")
        report = workers.stop()
    return {
        "per_s": median(run["per_s"] for run in runs),
        "per_s_all": [round(run["per_s"]) for run in runs],
        "txns_per_dispatch": median(each, 3),
        "driver_cpu_us": median(run["cpu_s"] / run["dispatches"] * 1e6 for run in runs),
        "worker_cpu_us": round(report["cpu_s"] / report["started"] * 1e6),
        "worker_multis_per_dispatch": round(report["multis"] / report["started"], 3),
        "worker_lists_per_dispatch": round(report["lists"] / report["started"], 3),
        "claims_lost": report["claims_lost"],
        "unfinished": sum(run["unfinished"] for run in runs),
    }


def throughput(bench: Bench) -> dict[str, Any]:
    """No-op dispatches a second with 1, 4 and 16 workers, and what each costs ZooKeeper."""
    figures: dict[str, Any] = {}
    details = {}
    for processes in (1, 4) if bench.quick else (1, 4, 16):
        details[str(processes)] = one = saturated(bench, processes, bench.repeats)
        figures[f"noop_per_s_{processes}"] = one["per_s"]
    figures["noop_per_s"] = figures["noop_per_s_4"]
    figures["txns_per_dispatch"] = details["4"]["txns_per_dispatch"]
    figures["throughput"] = details
    return figures


def paced(bench: Bench) -> dict[str, Any]:
    """Latencies at 500 a second, evenly spaced, with four workers."""
    root = bench.new_root("paced")
    seconds = 4 if bench.quick else 20
    with NoopWorkers(bench, root, processes=4) as workers, Driver(bench, root) as driver:
        _settle(bench, driver, workers)
        driver.run(1_000, rate=500)
        before = transactions(bench.zookeeper)
        run = driver.run(500 * seconds, rate=500, tag="paced")
        each = (transactions(bench.zookeeper) - before) / run["dispatches"]
        claim = workers.stop()["latency_us"]["paced"]
    return {
        "claim_p50_ms": percentile_ms(claim, 50),
        "claim_p99_ms": percentile_ms(claim, 99),
        "event_p50_ms": percentile_ms(run["latency_us"], 50),
        "event_p99_ms": percentile_ms(run["latency_us"], 99),
        "paced_per_s": round(run["per_s"]),
        "txns_per_dispatch_500_s": round(each, 3),
    }


def trickle(bench: Bench) -> dict[str, Any]:
    """What a dispatch costs when there is nothing to batch: five a second."""
    root = bench.new_root("trickle")
    seconds = 3 if bench.quick else 10
    with NoopWorkers(bench, root, processes=4) as workers, Driver(bench, root) as driver:
        _settle(bench, driver, workers)
        before = transactions(bench.zookeeper)
        run = driver.run(5 * seconds, rate=5, tag="trickle")
        each = (transactions(bench.zookeeper) - before) / run["dispatches"]
        claim = workers.stop()["latency_us"]["trickle"]
    return {
        "txns_per_dispatch_trickle": round(each, 3),
        "claim_p50_ms_trickle": percentile_ms(claim, 50),
        "claim_p99_ms_trickle": percentile_ms(claim, 99),
    }
