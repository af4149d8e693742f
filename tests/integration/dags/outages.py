# SPDX-License-Identifier: Apache-2.0
"""Asks for thousands of variables, has a thousand watchers, and waits deferred for a moment."""

from __future__ import annotations

import time
from datetime import timedelta

from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor
from airflow.sdk import DAG, Asset, AssetWatcher, Variable, task

from zk_executor.triggers.zookeeper import ZnodeChangedTrigger

NAMES = 5_000
WATCHERS = 900  # a triggerer takes 1,000 triggers, and the sensor's is one

with DAG("outages_many", schedule=None, catchup=False):

    @task
    def many() -> None:
        began = time.monotonic()
        for number in range(NAMES):
            assert Variable.get(f"missing{number}", default=None) is None
        print(f"{NAMES} names in {time.monotonic() - began:.0f} s")

    many()

with DAG("outages_one", schedule=None, catchup=False, params={"name": "missing1"}):

    @task
    def one(params: dict[str, str] | None = None) -> str:
        assert params is not None
        return str(Variable.get(params["name"], default="nothing"))

    one()

with DAG("outages_deferred", schedule=None, catchup=False):
    TimeDeltaSensor(task_id="moment", delta=timedelta(seconds=1), deferrable=True)

with DAG(
    "outages_watched",
    schedule=[
        Asset(
            f"outages-{number}",
            watchers=[
                AssetWatcher(f"outages-{number}", trigger=ZnodeChangedTrigger(f"/watched/{number}"))
            ],
        )
        for number in range(WATCHERS)
    ],
    catchup=False,
):

    @task
    def seen() -> None:
        pass

    seen()
