# SPDX-License-Identifier: Apache-2.0
"""Polars' threads, which Python does not know of, are needed at module level and in the task."""

import polars
from airflow.sdk import DAG, task
from seen import see


def compute():
    frame = polars.DataFrame({"a": range(50_000)}).lazy()
    summed = frame.group_by(polars.col("a") % 7).agg(polars.col("a").sum().alias("sum"))
    return int(summed.collect()["sum"].sum())


AT_TOP = compute()

with DAG("polars_threads"):

    @task
    def look(i):
        see("polars_threads", at_top=AT_TOP, in_task=compute())

    look.expand(i=[0, 1])
