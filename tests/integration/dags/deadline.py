# SPDX-License-Identifier: Apache-2.0
"""A DAG that misses its deadline while it runs; its callback runs on a worker."""

from __future__ import annotations

import contextlib
import datetime
import os
from pathlib import Path

from airflow.sdk import DAG, DeadlineAlert, DeadlineReference, SyncCallback, task

MARKS = Path(os.environ["AIRFLOW_HOME"]) / "marks"


def gate() -> Path:
    """A FIFO between task and callback; whoever comes first makes it."""
    MARKS.mkdir(exist_ok=True)
    fifo = MARKS / "deadline-gate"
    with contextlib.suppress(FileExistsError):
        os.mkfifo(fifo)
    return fifo


def on_missed_deadline(**_: object) -> None:
    """Called in a process of its own; lets the task end."""
    fifo = gate()
    (MARKS / "deadline").touch()
    fifo.write_bytes(b"")


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
        gate().read_bytes()

    be_late()
