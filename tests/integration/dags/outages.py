# SPDX-License-Identifier: Apache-2.0
"""Asks for a thousand variables, has hundreds of watchers, and waits deferred for a moment."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import DAG, Asset, AssetWatcher, BaseOperator, Variable, task

from zk_executor.triggers.zookeeper import ZnodeChangedTrigger

NAMES = 1_000
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


class Moment(BaseOperator):
    """Waits deferred, with a trigger that has nothing to do with ZooKeeper."""

    def execute(self, context: Any) -> None:
        self.defer(trigger=TimeDeltaTrigger(timedelta(seconds=2)), method_name="ended")

    def ended(self, context: Any, event: Any = None) -> None:
        pass


# A retry: Airflow fails a deferred task whose trigger fires before its scheduler has noted the
# deferral.
with DAG("outages_deferred", schedule=None, catchup=False):
    Moment(task_id="moment", retries=2, retry_delay=timedelta(0))

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
