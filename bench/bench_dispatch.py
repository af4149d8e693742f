#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures what handing work over through ZooKeeper costs: speed, latency, scale and recovery.

    make bench-dispatch                                   everything, some 15 minutes
    make bench-dispatch BENCH_ARGS='--only throughput'    one scenario
    make bench-dispatch BENCH_ARGS=--quick                all in short: does it work?
    bench/bench_dispatch.py --list                        what the scenarios are

Starts a ZooKeeper of its own, with fsync, in a temporary folder on a free port, warms it up, and
runs the scenarios one after the other. The dispatches are real: the executor's session, the
worker's agent and both ZooKeeper clients are those of production; only the task itself is nothing.

Progress goes to stderr. Stdout gets a table, then one line of JSON, which is also written to
.build/bench/dispatch.json. A figure that could not be measured here is null. Run it on a machine
that does nothing else: everything shares its cores.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from devstack import (  # noqa: E402
    DevStackError,
    ZooKeeperServer,
    become_subreaper,
    kill_strays,
)
from devstack.tables import table  # noqa: E402
from dispatch import report  # noqa: E402
from dispatch.measures import machine  # noqa: E402
from dispatch.programs import DRIVER, Bench  # noqa: E402
from dispatch.scenarios import SCENARIOS  # noqa: E402

FOLDER = ROOT / ".build" / "bench"
DOCS = ROOT / "docs" / "benchmarks.md"
# docs/benchmarks.md says what the defaults cost.
SERVER_OPTIONS = ("-Xms512m", "-Xmn256m", "-Dzookeeper.digest.enabled=false")


def main() -> int:
    options = parse_arguments()
    if not DRIVER.exists():
        print(f"bench: there is no {DRIVER}; run tools/bootstrap.sh --bench", file=sys.stderr)
        return 2
    become_subreaper()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and clean up
    FOLDER.mkdir(parents=True, exist_ok=True)
    # Not in /tmp, which may lie in memory, where fsync costs nothing.
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=FOLDER))
    failed: list[str] = []
    result = FOLDER / "dispatch.json"
    try:
        with ZooKeeperServer(folder / "zookeeper", jvm=SERVER_OPTIONS) as zookeeper:
            bench = Bench(zookeeper, folder, options.quick, options.repeats)
            figures = {"machine": machine(zookeeper.ask("srvr")), "quick": options.quick}
            SCENARIOS["warm-up"](bench)
            for name in options.only:
                bench.say(name)
                started = time.monotonic()
                try:
                    figures |= SCENARIOS[name](bench)
                except DevStackError as error:
                    # The others are worth having all the same.
                    bench.say(f"{name} failed: {error}")
                    failed.append(name)
                bench.say(f"{name} took {time.monotonic() - started:.0f} s")
                # Whoever loses patience has what there is.
                figures["failed_scenarios"] = failed
                result.write_text(json.dumps(report.complete(figures)) + "\n")
    finally:
        strays = kill_strays()
        shutil.rmtree(folder, ignore_errors=True)
    for stray in strays:
        print(f"bench: left behind and killed: {stray}", file=sys.stderr)
    rows = report.rows(figures)
    print(table(report.HEADING, rows) + "\n")
    line = json.dumps(report.complete(figures))
    if options.write_docs:
        report.write_docs(DOCS, figures)
    print(line, flush=True)
    return 1 if failed else 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [name for name in SCENARIOS if name != "warm-up"]
    parser.add_argument(
        "--only",
        metavar="SCENARIO",
        type=lambda text: [name for name in text.split(",") if name],
        default=names,
        help=f"comma-separated: {', '.join(names)}",
    )
    parser.add_argument("--quick", action="store_true", help="short runs; the figures mean little")
    parser.add_argument(
        "--repeats", type=int, default=3, help="runs of which the median counts (default 3)"
    )
    parser.add_argument(
        "--write-docs", action="store_true", help=f"put the table into {DOCS.relative_to(ROOT)}"
    )
    parser.add_argument("--list", action="store_true", help="say what the scenarios are")
    options = parser.parse_args()
    if options.list:
        abouts = [(name, (SCENARIOS[name].__doc__ or "").splitlines()[0]) for name in names]
        print(table(("scenario", "what"), abouts))
        parser.exit()
    if unknown := sorted(set(options.only) - set(names)):
        parser.error(f"no scenario {', '.join(unknown)}; there are {', '.join(names)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
