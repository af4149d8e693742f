# SPDX-License-Identifier: Apache-2.0
"""Which measurements there are, and their order within one run.

Threads: main thread only. Errors: DevStackError, after which the other configurations still run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

from devstack import DevStackError
from tasks import flows, memory, sleeping
from tasks.configurations import CONFIGURATIONS, Configuration
from tasks.lab import Airflow, Lab

PARTS = {
    "start": "chains: claimed to user code, queued to user code, how long a slot is held",
    "fan": "mapped tasks: tasks a second, CPU for each",
    "memory": "PSS of a used worker, idle and with 16 and 64 running tasks",
    "sleeping": "500 waiting tasks in one worker of ours: its answers, memory, CPU",
}
Keep = Callable[[dict[str, Any]], None]


def run(lab: Lab, parts: Collection[str], names: Collection[str], keep: Keep) -> list[str]:
    """Measure; keep gets what there is so far, often. Returns what failed."""
    failed: list[str] = []
    found: dict[str, Any] = {"configurations": {}}
    chosen = [CONFIGURATIONS[name] for name in CONFIGURATIONS if name in names]
    for celery in (False, True):
        ours = [one for one in chosen if one.celery == celery]
        extra = "sleeping" in parts and not celery
        if not ours and not extra:
            continue
        lab.say(f"Airflow with {'CeleryExecutor' if celery else 'ZkExecutor'}")
        try:
            with lab.airflow(celery=celery) as airflow:
                for configuration in ours:
                    figures = found["configurations"].setdefault(configuration.name, {})
                    _step(
                        lab,
                        failed,
                        configuration.name,
                        lambda c=configuration, f=figures: _measure(airflow, c, parts, f),
                    )
                    keep(found)
                if extra:
                    _step(lab, failed, "sleeping", lambda: found.update(sleeping.many(airflow)))
                    keep(found)
        except DevStackError as error:
            lab.say(f"failed: {error}")
            failed.append("Airflow with Celery" if celery else "Airflow")
    return failed


def _step(lab: Lab, failed: list[str], name: str, what: Callable[[], None]) -> None:
    started = time.monotonic()
    try:
        what()
    except DevStackError as error:
        # The others are worth having all the same.
        lab.say(f"{name} failed: {error}")
        failed.append(name)
    lab.say(f"{name} took {time.monotonic() - started:.0f} s")


def _measure(
    airflow: Airflow, configuration: Configuration, parts: Collection[str], into: dict[str, Any]
) -> None:
    if not set(parts) & {"start", "fan", "memory"}:
        return
    say = airflow.lab.say

    def note(figures: dict[str, Any]) -> None:
        into.update(figures)
        say(f"  {configuration.name}: {figures}")

    with airflow.worker(configuration, airflow.lab.sizes.few) as worker:
        say(f"{configuration.name}: {configuration.about}; warming up")
        flows.warm_up(airflow, worker)
        if "start" in parts:
            note(flows.starts(airflow, worker))
        if "fan" in parts:
            note(flows.fans(airflow, worker))
        if "memory" in parts:
            note(memory.few(airflow, worker))
    if "memory" in parts:
        note(memory.some(airflow, configuration))
