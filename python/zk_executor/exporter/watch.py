# SPDX-License-Identifier: Apache-2.0
"""Reads the fleet every few seconds, however many ask for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from zk_executor._core import Fleet

log = logging.getLogger(__name__)

# After so many intervals, and the time that an answer may take, what was read last is not told.
STALE_INTERVALS = 3
# How soon stop() is heeded.
_SLICE_MS = 200


class Monitor(Protocol):
    """``_core.FleetMonitor``."""

    def read(self) -> Fleet: ...
    def wait(self, ms: int) -> None: ...


@dataclass(frozen=True)
class Reading:
    """What was read last, and how reading goes. Times are of ``time.time``, in seconds."""

    fleet: Fleet | None
    read_at: float
    seconds: float
    reads: int
    failures: int
    error: str


class FleetWatch:
    """One thread that reads, from start() to stop(); any thread may ask for latest().

    Without an answer from ZooKeeper it goes on trying, and says so once per different reason.
    """

    def __init__(
        self,
        monitor: Monitor,
        *,
        interval: float,
        timeout: float,
        failure: type[Exception],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._monitor = monitor
        self._interval = interval
        self._stale_after = STALE_INTERVALS * interval + timeout
        self._failure = failure
        self._clock = clock
        self._latest = Reading(None, 0.0, 0.0, 0, 0, "nothing has been read yet")
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fleet-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def latest(self) -> Reading:
        return self._latest

    def fresh(self) -> Fleet | None:
        """What was read last, unless that is too long ago."""
        latest = self._latest
        old = self._clock() - latest.read_at > self._stale_after
        return None if old else latest.fleet

    def read_once(self) -> None:
        """One round; called by the thread."""
        before, started = self._latest, time.monotonic()
        try:
            fleet = self._monitor.read()
        except self._failure as error:
            if str(error) != before.error:
                log.warning("cannot read the fleet, trying on: %s", error)
            self._latest = Reading(
                before.fleet,
                before.read_at,
                before.seconds,
                before.reads,
                before.failures + 1,
                str(error),
            )
            return
        if before.error:
            log.info("reading the fleet works")
        seconds = time.monotonic() - started
        self._latest = Reading(fleet, self._clock(), seconds, before.reads + 1, before.failures, "")

    def _run(self) -> None:
        while not self._stopped.is_set():
            self.read_once()
            until = time.monotonic() + self._interval
            while not self._stopped.is_set() and (left := until - time.monotonic()) > 0:
                self._monitor.wait(min(_SLICE_MS, int(left * 1000) + 1))
