# SPDX-License-Identifier: Apache-2.0
"""The fleet as Prometheus metrics. Label values are queues, and states out of a fixed list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from zk_executor import __version__
from zk_executor.exporter.watch import FleetWatch

if TYPE_CHECKING:
    from zk_executor._core import Fleet, FleetQueue

STATES = ("active", "draining", "maintenance", "other")

# Of a queue: name, what it is, and where it is in a reading.
QUEUE_GAUGES: tuple[tuple[str, str, Callable[[FleetQueue], float]], ...] = (
    ("zkexec_fleet_queue_depth", "Dispatches that wait, by queue.", lambda q: q["depth"]),
    (
        "zkexec_fleet_queue_oldest_age_seconds",
        "For how long the oldest dispatch has waited, by queue; 0 if none waits.",
        lambda q: q["oldest_age_seconds"] or 0.0,
    ),
    ("zkexec_fleet_queue_running", "Dispatches that run, by queue.", lambda q: q["running"]),
    (
        "zkexec_fleet_queue_reserved_slots",
        "Slots of the dispatches that run, by queue.",
        lambda q: q["reserved_slots"],
    ),
    (
        "zkexec_fleet_queue_workers",
        "Active workers that serve it, by queue.",
        lambda q: q["workers"],
    ),
)
FLEET_GAUGES: tuple[tuple[str, str, Callable[[Fleet], float]], ...] = (
    ("zkexec_fleet_schedulers", "Schedulers that have a session.", lambda f: f["schedulers"]),
    (
        "zkexec_fleet_results_waiting",
        "Results that no scheduler has collected yet.",
        lambda f: f["results_waiting"],
    ),
    (
        "zkexec_fleet_dispatches_without_claim",
        "Dispatches that run by what ZooKeeper knows, but whose worker's session is over.",
        lambda f: f["without_claim"],
    ),
    (
        "zkexec_fleet_commands_waiting",
        "Operators' commands to workers that have not been obeyed yet.",
        lambda f: f["commands"],
    ),
    (
        "zkexec_fleet_command_oldest_age_seconds",
        "For how long the oldest of these commands has waited; 0 if none waits.",
        lambda f: f["command_age_seconds"],
    ),
    (
        "zkexec_fleet_unrecognized_znodes",
        "Nodes under the root that others have written, or that cannot be read.",
        lambda f: f["unrecognized"],
    ),
)


class FleetCollector:
    """What Prometheus gets. While nothing fresh was read, only whether, and how reading goes."""

    def __init__(self, watch: FleetWatch) -> None:
        self._watch = watch

    def collect(self) -> Iterator[Metric]:
        fleet, latest = self._watch.fresh(), self._watch.latest()
        yield _gauge(
            "zkexec_fleet_up", "1 if what follows was read lately, else 0.", fleet is not None
        )
        yield _counter("zkexec_fleet_reads", "Times that the fleet was read.", latest.reads)
        yield _counter(
            "zkexec_fleet_read_failures", "Times that reading the fleet failed.", latest.failures
        )
        yield _gauge(
            "zkexec_fleet_last_read_timestamp_seconds",
            "When the fleet was read last, in seconds since 1970; 0: never.",
            latest.read_at,
        )
        yield _gauge("zkexec_fleet_read_seconds", "How long the last reading took.", latest.seconds)
        build = GaugeMetricFamily(
            "zkexec_fleet_build_info", "Version of this exporter.", labels=["version"]
        )
        build.add_metric([__version__], 1)
        yield build
        if fleet is not None:
            yield from _fleet(fleet)


def _fleet(fleet: Fleet) -> Iterator[Metric]:
    for name, text, of in FLEET_GAUGES:
        yield _gauge(name, text, of(fleet))
    for name, text, of_queue in QUEUE_GAUGES:
        family = GaugeMetricFamily(name, text, labels=["queue"])
        for queue in fleet["queues"]:
            family.add_metric([queue["queue"]], of_queue(queue))
        yield family
    workers = GaugeMetricFamily(
        "zkexec_fleet_workers", "Workers that have a session, by state.", labels=["state"]
    )
    slots = GaugeMetricFamily("zkexec_fleet_slots", "Slots of workers, by state.", labels=["state"])
    for state in STATES:
        of_state = [one for one in fleet["workers"] if _state(one["state"]) == state]
        workers.add_metric([state], len(of_state))
        slots.add_metric([state], sum(one["slots"] for one in of_state))
    yield workers
    yield slots


def _state(state: str) -> str:
    return state if state in STATES else "other"


def _gauge(name: str, text: str, value: Any) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))


def _counter(name: str, text: str, value: int) -> Metric:
    return CounterMetricFamily(name, text, value=float(value))


def page(watch: FleetWatch) -> bytes:
    """The text format, version 0.0.4."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(FleetCollector(watch))  # type: ignore[arg-type]
    return generate_latest(registry)
