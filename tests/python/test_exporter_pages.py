# SPDX-License-Identifier: Apache-2.0
"""What the exporter answers, from readings that are given to it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from zk_executor.exporter.server import answer
from zk_executor.exporter.watch import FleetWatch


class NoAnswer(Exception):
    """ZooKeeper's silence."""


FLEET: dict[str, Any] = {
    "queues": [
        {
            "queue": "a",
            "depth": 3,
            "running": 2,
            "reserved_slots": 5,
            "oldest_age_seconds": 7.5,
            "workers": 1,
        },
        {
            "queue": 'q"uo\nte',
            "depth": 0,
            "running": 0,
            "reserved_slots": 0,
            "oldest_age_seconds": None,
            "workers": 0,
        },
    ],
    "workers": [
        {"worker": "w1", "state": "active", "queues": ["a"], "slots": 8, "running": 2},
        {"worker": "w2", "state": "from a newer version", "queues": [], "slots": 1, "running": 0},
    ],
    "schedulers": 1,
    "results_waiting": 4,
    "without_claim": 0,
    "commands": 2,
    "command_age_seconds": 60.5,
    "unrecognized": 0,
}


class Monitor:
    """Answers what it is told to, one after the other."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def read(self) -> Any:
        given = self.answers.pop(0)
        if isinstance(given, Exception):
            raise given
        return given

    def wait(self, ms: int) -> None: ...


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def watching(*answers: Any, clock: Clock | None = None) -> FleetWatch:
    watch = FleetWatch(
        Monitor(*answers),
        interval=10,
        timeout=5,
        failure=NoAnswer,
        clock=clock or Clock(),
    )
    for _ in answers:
        watch.read_once()
    return watch


def asked(watch: FleetWatch, target: str) -> tuple[int, Any]:
    status, _, body = answer(watch, target)
    return status, json.loads(body)


def test_scale_sums_the_queues_that_are_named() -> None:
    watch = watching(FLEET)
    status, one = asked(watch, "/scale?queue=a")
    assert status == 200
    assert (one["depth"], one["reserved_slots"], one["load"]) == (3, 5, 8)
    assert one["oldest_age_seconds"] == 7.5


def test_scale_takes_a_queue_that_is_not_there_for_an_empty_one() -> None:
    status, none = asked(watching(FLEET), "/scale?queue=new")
    assert (status, none["load"], none["oldest_age_seconds"]) == (200, 0, 0.0)


def test_scale_without_a_queue_says_how_to_ask() -> None:
    status, said = asked(watching(FLEET), "/scale")
    assert status == 400
    assert "/scale?queue=" in said["error"]


def test_another_page_is_answered_with_those_that_there_are() -> None:
    status, said = asked(watching(FLEET), "/metric")
    assert status == 404
    assert "/metrics" in said["pages"]


@pytest.mark.parametrize("page", ["/scale?queue=a", "/fleet", "/health/ready"])
def test_nothing_is_told_before_the_first_reading(page: str) -> None:
    assert asked(watching(), page)[0] == 503


@pytest.mark.parametrize("page", ["/scale?queue=a", "/fleet", "/health/ready"])
def test_a_failure_is_bridged_until_what_was_read_is_old(page: str) -> None:
    clock = Clock()
    watch = watching(FLEET, NoAnswer("no answer from zk1"), clock=clock)
    clock.now += 35
    assert asked(watch, page)[0] == 200
    clock.now += 0.1
    status, said = asked(watch, page)
    assert (status, said["error"]) == (503, "no answer from zk1")
    assert asked(watch, "/health/live")[0] == 200


def samples(watch: FleetWatch) -> dict[str, float]:
    status, _, body = answer(watch, "/metrics")
    assert status == 200
    lines = [line for line in body.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_metrics_bound_states_and_escape_queues() -> None:
    now = samples(watching(FLEET))
    assert now['zkexec_fleet_queue_depth{queue="a"}'] == 3
    assert now['zkexec_fleet_queue_depth{queue="q\\"uo\\nte"}'] == 0
    assert now['zkexec_fleet_workers{state="active"}'] == 1
    assert now['zkexec_fleet_workers{state="other"}'] == 1
    assert now['zkexec_fleet_workers{state="draining"}'] == 0
    assert now['zkexec_fleet_slots{state="active"}'] == 8
    assert now["zkexec_fleet_command_oldest_age_seconds"] == 60.5
    assert now["zkexec_fleet_up"] == 1


def test_metrics_of_the_fleet_are_absent_while_nothing_fresh_was_read() -> None:
    clock = Clock()
    watch = watching(FLEET, NoAnswer("x"), NoAnswer("x"), clock=clock)
    clock.now += 100
    now = samples(watch)
    assert now["zkexec_fleet_up"] == 0
    assert now["zkexec_fleet_reads_total"] == 1
    assert now["zkexec_fleet_read_failures_total"] == 2
    assert now["zkexec_fleet_last_read_timestamp_seconds"] == 1000
    assert not [name for name in now if "queue" in name or "workers" in name]


def test_a_reason_is_logged_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    watching(NoAnswer("gone"), NoAnswer("gone"), NoAnswer("other"), FLEET, FLEET)
    said = [record.getMessage() for record in caplog.records]
    assert [text for text in said if "gone" in text or "other" in text] == [
        "cannot read the fleet, trying on: gone",
        "cannot read the fleet, trying on: other",
    ]
    assert said.count("reading the fleet works") == 1
