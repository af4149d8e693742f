# SPDX-License-Identifier: Apache-2.0
"""A scheduler without Airflow: places dispatches through the real core and records their events.

    driver.py CONFIG INCARNATION

Its files, <name>.placed and <name>.events, are what Airflow's database is to a scheduler: an event
is in them before anything else follows from it. A later incarnation adopts what an earlier one left
unfinished. Ends with 0 when every dispatch has its final event.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
import zlib
from pathlib import Path
from random import Random
from typing import Any

from zk_executor import _core

OUTSTANDING_MAX = 300
BATCH = 100
TURN_SECONDS = 0.02
QUEUE = "default"
# An executor places these again, with a fresh token.
AGAIN = "token"
# Outcomes after which Airflow's task is not queued any more, so that a late start is refused.
CLOSES_GATE = frozenset({"lost", "failed", "gone", "killed", "rejected"})

Record = tuple[str, ...]


def workload(dispatch: str, seed: int) -> dict[str, Any]:
    """What a dispatch does; the same for every incarnation."""
    random = Random(f"{seed}-{dispatch}")
    hold = random.uniform(1000, 3000) if random.random() < 0.1 else random.uniform(1, 300)
    return {
        "kind": "callback" if random.random() < 0.2 else "task",
        "gate_ms": int(random.uniform(0, 50)),
        "hold_ms": int(hold),
    }


class Log:
    """An append-only file of lines; what is written survives our death."""

    def __init__(self, path: Path) -> None:
        self.records: list[Record] = []
        if path.exists():
            self.records = [tuple(line.split()) for line in path.read_text().splitlines()]
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, records: list[Record]) -> None:
        """All of them in one write."""
        now = f"{time.monotonic():.6f}"
        text = "".join(" ".join((now, *record)) + "\n" for record in records)
        if text:
            os.write(self._fd, text.encode())


class Driver:
    """One incarnation."""

    def __init__(self, config: dict[str, Any], incarnation: int) -> None:
        self._config = config
        self._incarnation = incarnation
        self._name = config["name"]
        folder = Path(config["folder"])
        self._gates = Path(config["gates"])
        self._placed = Log(folder / f"{self._name}.placed")
        self._events = Log(folder / f"{self._name}.events")
        started = {record[1] for record in self._placed.records}
        ended = {record[1] for record in self._events.records if record[2] != AGAIN}
        self._to_adopt = sorted(started - ended)
        self._waiting = [one for one in reversed(config["dispatches"]) if one not in started]
        self._outstanding: set[str] = set()
        self._adopted: set[str] = set()
        self._turn = threading.Event()
        self._session = _core.Session(
            hosts=config["hosts"],
            root=config["root"],
            team="default",
            scheduler_id=f"{self._name}-{incarnation}",
            session_timeout_ms=config["session_timeout_ms"],
            partitions=config["partitions"],
            encryption_secret=config["secret"].encode(),
            digest_auth="",
            max_workload_bytes=1 << 16,
        )

    def run(self) -> None:
        """Until everything has ended."""
        self._session.start()
        self._adopt()
        while self._waiting or self._outstanding:
            self._take_events()
            self._place_more()
            self._turn.wait(TURN_SECONDS)
        self._session.stop(5000)

    def _adopt(self) -> None:
        if not self._to_adopt:
            return
        dead = [f"{self._name}-{number}" for number in range(self._incarnation)]
        self._session.adopt([(one, QUEUE) for one in self._to_adopt], dead)
        self._outstanding.update(self._to_adopt)
        self._adopted.update(self._to_adopt)

    def _take_events(self) -> None:
        events = self._session.drain_events()
        for event in events:
            if event.outcome in CLOSES_GATE:
                with contextlib.suppress(FileExistsError):
                    os.close(os.open(self._gates / event.dispatch_id, os.O_CREAT | os.O_EXCL))
        again = []
        records = []
        for event in events:
            repeat = event.outcome == AGAIN and event.dispatch_id not in self._adopted
            # Adopted, it has no workload: Airflow would make another dispatch of it.
            outcome = "handed_back" if event.outcome == AGAIN and not repeat else event.outcome
            records.append((event.dispatch_id, outcome, event.worker or "-"))
            if repeat:
                again.append(event.dispatch_id)
            else:
                self._outstanding.discard(event.dispatch_id)
        self._events.write(records)
        self._session.place([self._placement(one) for one in again])

    def _place_more(self) -> None:
        due = (time.monotonic() - self._config["began"]) * self._config["per_second"]
        ever = len(self._config["dispatches"]) - len(self._waiting)
        room = min(int(due) - ever, OUTSTANDING_MAX - len(self._outstanding), BATCH)
        if room < 1 or not self._session.status()["connected"]:
            return
        batch = [self._waiting.pop() for _ in range(min(room, len(self._waiting)))]
        self._outstanding.update(batch)
        kinds = [workload(one, self._config["seed"])["kind"] for one in batch]
        self._placed.write(list(zip(batch, kinds, strict=True)))
        self._session.place([self._placement(one) for one in batch])

    def _placement(self, dispatch: str) -> _core.Placement:
        work = workload(dispatch, self._config["seed"])
        return _core.Placement(
            dispatch_id=dispatch,
            queue=QUEUE,
            kind=work["kind"],
            route_key=f"file-{zlib.crc32(dispatch.encode()) % 8}",
            slots=1,
            priority=1,
            workload=json.dumps(work).encode(),
            label=dispatch,
        )


if __name__ == "__main__":
    Driver(json.loads(Path(sys.argv[1]).read_text()), int(sys.argv[2])).run()
