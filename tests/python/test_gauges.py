# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from zk_executor import version_compat
from zk_executor.gauges import INTERVAL_SECONDS, Gauges

STATUS = {"connected": True, "live_workers": 3, "strangers": 1, "last_error": "text is no gauge"}


@pytest.fixture
def told(monkeypatch):
    told: list[tuple[str, float, dict[str, str]]] = []
    monkeypatch.setattr(version_compat, "gauge", lambda *what: told.append(what))
    return told


def test_figures_of_the_status_are_told_with_the_team(told) -> None:
    Gauges("red").tell(lambda: STATUS)
    assert told == [
        ("zk_executor.connected", 1.0, {"team_name": "red"}),
        ("zk_executor.live_workers", 3.0, {"team_name": "red"}),
        ("zk_executor.strangers", 1.0, {"team_name": "red"}),
    ]


def test_status_is_not_read_again_within_the_interval(told) -> None:
    now = 100.0
    gauges = Gauges(None, clock=lambda: now)
    reads = []

    def read() -> dict[str, object]:
        reads.append(now)
        return {"connected": False}

    gauges.tell(read)
    now += INTERVAL_SECONDS / 2
    gauges.tell(read)
    now += INTERVAL_SECONDS
    gauges.tell(read)
    assert len(reads) == len(told) == 2


def test_a_status_that_cannot_be_read_tells_nothing(told) -> None:
    Gauges(None).tell(dict)
    assert told == []


def test_airflows_backend_takes_it() -> None:
    version_compat.gauge("zk_executor.connected", 1.0, {})
