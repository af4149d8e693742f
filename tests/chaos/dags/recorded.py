# SPDX-License-Identifier: Apache-2.0
"""Many short tasks that say in a file when they start."""

from __future__ import annotations

import datetime
import os

from airflow.sdk import dag, task

TASKS = 100


@dag(schedule=None, catchup=False)
def recorded():
    @task(retries=8, retry_delay=datetime.timedelta(seconds=1))
    def record(number: int, ti=None) -> None:
        line = f"{ti.run_id} {number} {ti.try_number}\n"
        file = os.open(os.environ["RECORDED_STARTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, line.encode())
        os.close(file)

    record.expand(number=list(range(TASKS)))


recorded()
