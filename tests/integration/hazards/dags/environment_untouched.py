# SPDX-License-Identifier: Apache-2.0
"""Numpy at the top, as most files have it: all threads, and they compute."""

import numpy
from airflow.sdk import DAG, task
from blas import threads
from seen import see

SQUARE = numpy.ones((300, 300))
AT_TOP = float((SQUARE @ SQUARE).sum())

with DAG("environment_untouched"):

    @task
    def look(i):
        import os

        see(
            "environment_untouched",
            all_threads=threads() == len(os.sched_getaffinity(0)),
            at_top=AT_TOP,
            in_task=float((SQUARE @ SQUARE).sum()),
        )

    look.expand(i=[0, 1])
