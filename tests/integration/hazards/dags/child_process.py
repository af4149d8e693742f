# SPDX-License-Identifier: Apache-2.0
"""A daemon process of the task, which multiprocessing ends at exit."""

import multiprocessing
import time

from airflow.sdk import DAG, task
from seen import see

KEPT = []

with DAG("child_process"):

    @task
    def look(i):
        child = multiprocessing.get_context("fork").Process(
            target=time.sleep, args=(600,), daemon=True
        )
        child.start()
        KEPT.append(child)
        see("child_process", child=child.pid)

    look.expand(i=[0, 1])
