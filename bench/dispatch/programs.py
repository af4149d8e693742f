# SPDX-License-Identifier: Apache-2.0
"""The C++ programs of the benchmarks as child processes, and ZooKeeper's count of transactions.

Threads: main thread only. Errors: DevStackError.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devstack import Child, DevStackError, ZooKeeperServer, wait_until
from dispatch.measures import Histogram, merged

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / ".build" / "release" / "bench"
NOOP_WORKER = PROGRAMS / "zkexec_noop_worker"
DRIVER = PROGRAMS / "zkexec_dispatch_driver"
RING_SHARE = PROGRAMS / "zkexec_ring_share"


@dataclass
class Bench:
    """What the scenarios share."""

    zookeeper: ZooKeeperServer
    folder: Path
    quick: bool = False
    repeats: int = 3
    counter: int = field(default=0, repr=False)

    def new_root(self, name: str) -> str:
        """A path in ZooKeeper that nobody has used."""
        self.counter += 1
        return f"/{name}-{self.counter}"

    def say(self, text: str) -> None:
        """Progress, for people."""
        print(f"bench: {text}", file=sys.stderr, flush=True)


def transactions(zookeeper: ZooKeeperServer) -> int:
    """How many transactions the server has made: each write moves its zxid by one.

    Waits until it stands still for a moment: what was asked for last is still under way.
    """

    def zxid() -> int:
        for line in zookeeper.ask("srvr").splitlines():
            if line.startswith("Zxid:"):
                return int(line.split()[1], 16)
        raise DevStackError("ZooKeeper does not say its Zxid")

    last, since = zxid(), time.monotonic()
    while time.monotonic() - since < 0.3:
        time.sleep(0.05)
        now = zxid()
        if now != last:
            last, since = now, time.monotonic()
    return last


class NoopWorkers:
    """Processes of zkexec_noop_worker on one root."""

    def __init__(
        self,
        bench: Bench,
        root: str,
        *,
        processes: int,
        workers_each: int = 1,
        slots: int = 64,
        partitions: int = 64,
        register_timeout: float = 60,
    ) -> None:
        self.slots = processes * workers_each * slots
        self.count = processes * workers_each
        self._timeout = register_timeout
        folder = bench.folder / root.strip("/")
        self._reports = [folder / f"worker-{number}.json" for number in range(processes)]
        self._children = [
            Child(
                f"noop worker {number}",
                [
                    *(NOOP_WORKER, "--hosts", bench.zookeeper.hosts, "--root", root),
                    *("--workers", str(workers_each), "--slots", str(slots)),
                    *("--partitions", str(partitions), "--report", report),
                ],
                log=folder / f"worker-{number}.log",
            )
            for number, report in enumerate(self._reports)
        ]

    def start(self) -> None:
        """Start all and wait until each worker is registered."""
        for child in self._children:
            child.start()
        for child in self._children:
            wait_until(
                lambda child=child: "ready" in child.log.read_text(),
                f"{child.name} to register",
                timeout=self._timeout,
                needs=[child],
                interval=0.02,
            )

    def stop(self) -> dict[str, Any]:
        """End all; the sums of what they report, and the largest register_s."""
        for child in self._children:
            child.ask_to_end()
        # The report is written before the sessions are closed.
        for child, report in zip(self._children, self._reports, strict=True):
            wait_until(
                lambda report=report: _complete(report), f"{child.name}'s report", timeout=30
            )
        for child in self._children:
            child.stop(5)
        reports = [json.loads(report.read_text()) for report in self._reports]
        total: dict[str, Any] = {
            key: sum(report[key] for report in reports)
            for key in reports[0]
            if key not in ("latency_us", "register_s")
        }
        total["register_s"] = max(report["register_s"] for report in reports)
        tags = {tag for report in reports for tag in report["latency_us"]}
        latency: dict[str, Histogram] = {
            tag: merged(report["latency_us"].get(tag, []) for report in reports) for tag in tags
        }
        total["latency_us"] = latency
        return total

    def kill(self) -> None:
        """End all without a report."""
        for child in self._children:
            child.kill()

    def __enter__(self) -> NoopWorkers:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def _complete(report: Path) -> bool:
    try:
        json.loads(report.read_text())
    except (OSError, ValueError):
        return False
    return True


class Driver:
    """One zkexec_dispatch_driver: a scheduler's side."""

    def __init__(self, bench: Bench, root: str, **options: int) -> None:
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        log = bench.folder / root.strip("/") / "driver.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as stderr:
            self._process = subprocess.Popen(
                [DRIVER, "--hosts", bench.zookeeper.hosts, "--root", root, *flags],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        self._log = log

    def send(self, *words: object) -> None:
        """Give a command without waiting for its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Wait for the answer to a command."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise DevStackError(f"the driver ended\n{self._log.read_text()}")
        return json.loads(line)

    def ask(self, *words: object) -> dict[str, Any]:
        """Give a command and wait for its answer."""
        self.send(*words)
        return self.answer()

    def run(
        self, count: int, *, outstanding: int = 0, rate: float = 0, tag: str = "-"
    ) -> dict[str, Any]:
        """Place so many and wait for their events; see the driver's source for the figures."""
        return self.ask("run", count, outstanding, rate, tag)

    def wait_workers(self, count: int, timeout: float = 30) -> None:
        """Wait until the driver sees so many workers."""
        wait_until(
            lambda: self.ask("status")["live_workers"] >= count,
            f"the driver to see {count} workers",
            timeout=timeout,
            describe=lambda: str(self.ask("status")),
        )

    def close(self) -> None:
        """Close its session and wait for its end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
