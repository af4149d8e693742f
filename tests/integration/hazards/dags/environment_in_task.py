# SPDX-License-Identifier: Apache-2.0
"""A task sets the variable and imports numpy then."""

from airflow.sdk import DAG, task
from seen import see

with DAG("environment_in_task"):

    @task
    def look(i):
        import os
        import sys

        before = "numpy" in sys.modules
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        from blas import threads

        see("environment_in_task", threads=threads(), loaded_before=before)

    look.expand(i=[0, 1])
