# SPDX-License-Identifier: Apache-2.0
"""The DAG file of rehearsal.py: what most files do, and nothing else."""

from airflow.sdk import DAG, task

with DAG("rehearsal"):

    @task
    def first() -> int:
        return 1

    @task
    def second(number: int) -> None:
        pass

    second(first())
