# SPDX-License-Identifier: Apache-2.0
"""A DAG that misses its deadline while it runs; its callback runs on a worker."""

from __future__ import annotations

import datetime
import os
import time
from pathlib import Path

from airflow.sdk import DAG, DeadlineAlert, DeadlineReference, SyncCallback, task

MARKS = Path(os.environ["AIRFLOW_HOME"]) / "marks"


def on_missed_deadline(**_: object) -> None:
    """Called in a process of its own."""
    MARKS.mkdir(exist_ok=True)
    (MARKS / "deadline").touch()


with DAG(
    dag_id="misses_its_deadline",
    schedule=None,
    start_date=datetime.datetime(2025, 1, 1, tzinfo=datetime.timezone.utc),
    catchup=False,
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=datetime.timedelta(seconds=1),
        callback=SyncCallback("deadline.on_missed_deadline"),
    ),
):

    @task
    def be_late() -> None:
        for _ in range(600):
            if (MARKS / "deadline").exists():
                return
            time.sleep(0.1)

    be_late()
