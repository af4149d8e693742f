# SPDX-License-Identifier: Apache-2.0
"""A variable that numpy reads when it is imported is set before, at the top of the file."""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy
from airflow.sdk import DAG, task
from blas import threads
from seen import see

with DAG("environment_at_top"):

    @task
    def look(i):
        see("environment_at_top", threads=threads(), loaded=numpy.__name__)

    look.expand(i=[0, 1])
