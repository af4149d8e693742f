#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures what real tasks of a real Airflow cost, under ZkExecutor and under CeleryExecutor.

    make bench-tasks                                      everything, some 30 minutes
    make bench-tasks BENCH_ARGS='--only start,fan'        some parts
    make bench-tasks BENCH_ARGS='--configurations warm,celery'
    make bench-tasks BENCH_ARGS=--quick                   all in short: does it work?
    bench/bench_tasks.py --list                           what the parts and configurations are

Starts PostgreSQL, ZooKeeper, Redis and two Airflows, one after the other, on free ports and in a
temporary folder. One worker runs at a time: ours in three configurations, then Celery's, each with
16 slots and warmed up first. The tasks do nothing but write down when their code ran.

Progress goes to stderr. Stdout gets the tables, then one line of JSON, which is also written to
.build/bench/tasks.json. A figure that was not measured is null. Run it on a machine that does
nothing else: everything shares its cores.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from devstack import (  # noqa: E402
    PostgresServer,
    ZooKeeperServer,
    become_subreaper,
    kill_strays,
)
from devstack.tables import table  # noqa: E402
from dispatch.measures import machine  # noqa: E402
from tasks import report, scenarios  # noqa: E402
from tasks.configurations import CONFIGURATIONS  # noqa: E402
from tasks.lab import Lab, Sizes  # noqa: E402

FOLDER = ROOT / ".build" / "bench"
DOCS = ROOT / "docs" / "benchmarks.md"


def main() -> int:
    options = parse_arguments()
    if problem := what_is_missing(options.configurations):
        print(f"bench: {problem}", file=sys.stderr)
        return 2
    become_subreaper()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and clean up
    FOLDER.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="tasks-", dir=FOLDER))
    result = FOLDER / "tasks.json"
    figures: dict[str, Any] = {"configurations": {}, "quick": options.quick}
    failed = ["everything"]

    def keep(found: dict[str, Any]) -> None:
        # Whoever loses patience has what there is.
        figures.update(found)
        result.write_text(json.dumps(report.complete(figures)) + "\n")

    try:
        with PostgresServer() as postgres, ZooKeeperServer(folder / "zookeeper") as zookeeper:
            figures["machine"] = machine(zookeeper.ask("srvr"))
            pandas = not options.without_pandas
            lab = Lab(folder, postgres, zookeeper, sizes_of(options), pandas)
            failed = scenarios.run(lab, options.only, options.configurations, keep)
    finally:
        strays = kill_strays()
        if failed:
            print(f"bench: logs are in {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    for stray in strays:
        print(f"bench: left behind and killed: {stray}", file=sys.stderr)
    keep({"failed": failed})
    print(table(report.HEADING, report.rows(figures)) + "\n")
    if sleeping := report.sleeping_rows(figures):
        print(table(report.SLEEPING_HEADING, sleeping) + "\n")
    if options.write_docs:
        report.write_docs(DOCS, figures)
    print(json.dumps(report.complete(figures)), flush=True)
    return 1 if failed else 0


def sizes_of(options: argparse.Namespace) -> Sizes:
    """What --quick and --repeats ask for."""
    if options.quick:
        return Sizes.quick()
    return dataclasses.replace(Sizes(), repeats=options.repeats)


def what_is_missing(names: Iterable[str]) -> str:
    """Why this Python or machine can't run it; empty if it can."""
    how = "run tools/bootstrap.sh --bench, then use .build/bench-airflow/bin/python"
    needed = ["airflow", "zk_executor", "psycopg2"]
    if any(CONFIGURATIONS[name].celery for name in names):
        needed.append("airflow.providers.celery")
        if not shutil.which("redis-server"):
            return "there is no redis-server; on Debian: apt-get install redis-server"
    for module in needed:
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is None:
            return f"this Python has no {module}; {how}"
    return ""


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def names(text: str) -> list[str]:
        return [name for name in text.split(",") if name]

    parser.add_argument(
        "--only",
        metavar="PART",
        type=names,
        default=list(scenarios.PARTS),
        help=f"comma-separated: {', '.join(scenarios.PARTS)}",
    )
    parser.add_argument(
        "--configurations",
        metavar="NAME",
        type=names,
        default=list(CONFIGURATIONS),
        help=f"comma-separated: {', '.join(CONFIGURATIONS)}",
    )
    parser.add_argument(
        "--quick", action="store_true", help="few tasks, one repeat; the figures mean little"
    )
    parser.add_argument(
        "--repeats", type=int, default=3, help="chains and fans of each kind (default 3)"
    )
    parser.add_argument(
        "--without-pandas", action="store_true", help="leave the DAG file with pandas out"
    )
    parser.add_argument(
        "--write-docs", action="store_true", help=f"put the table into {DOCS.relative_to(ROOT)}"
    )
    parser.add_argument(
        "--list", action="store_true", help="say what the parts and configurations are"
    )
    options = parser.parse_args()
    if options.list:
        print(table(("part", "what"), scenarios.PARTS.items()) + "\n")
        abouts = [(one.name, one.about) for one in CONFIGURATIONS.values()]
        print(table(("configuration", "what"), abouts))
        parser.exit()
    for given, known, what in (
        (options.only, scenarios.PARTS, "part"),
        (options.configurations, CONFIGURATIONS, "configuration"),
    ):
        if unknown := sorted(set(given) - set(known)):
            parser.error(f"no {what} {', '.join(unknown)}; there are {', '.join(known)}")
    if options.repeats < 1:
        parser.error("--repeats must be at least 1")
    return options


if __name__ == "__main__":
    sys.exit(main())
