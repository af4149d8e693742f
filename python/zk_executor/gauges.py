# SPDX-License-Identifier: Apache-2.0
"""What the executor knows of ZooKeeper, as gauges among Airflow's own metrics.

Called on the scheduler's thread. Costs nothing while Airflow's metrics are off.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from zk_executor import version_compat

# Names in the core's status; the metrics are called zk_executor.<name>.
NAMES = ("connected", "live_workers", "live_slots", "outstanding", "strangers")
INTERVAL_SECONDS = 5.0


class Gauges:
    """Tells the figures of one executor, no more often than every INTERVAL_SECONDS."""

    def __init__(self, team_name: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._tags = {"team_name": team_name} if team_name else {}
        self._clock = clock
        self._next = 0.0

    def tell(self, read_status: Callable[[], Mapping[str, object]]) -> None:
        """Reads the status and tells it, if it is time."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + INTERVAL_SECONDS
        status = read_status()
        for name in NAMES:
            if name in status:
                version_compat.gauge(f"zk_executor.{name}", float(status[name]), self._tags)  # type: ignore[arg-type]
