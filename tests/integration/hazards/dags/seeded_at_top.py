# SPDX-License-Identifier: Apache-2.0
"""Who seeds at module level wants the same numbers in each task."""

import random

import numpy
from airflow.sdk import DAG, task
from seen import see

random.seed(7)
numpy.random.seed(7)

with DAG("seeded_at_top"):

    @task
    def look(i):
        see(
            "seeded_at_top",
            random=random.randint(0, 10**6),
            numpy=int(numpy.random.randint(0, 10**6)),
        )

    look.expand(i=[0, 1])
