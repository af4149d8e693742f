# SPDX-License-Identifier: Apache-2.0
"""A DAG whose file the test removes before its task starts."""

from __future__ import annotations

import datetime

from airflow.sdk import dag, task


@dag(
    schedule=None,
    start_date=datetime.datetime(2025, 1, 1, tzinfo=datetime.timezone.utc),
    catchup=False,
)
def vanishing():
    @task(queue="late")
    def never_found():
        pass

    never_found()


vanishing()
