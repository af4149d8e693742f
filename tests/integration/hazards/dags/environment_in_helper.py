# SPDX-License-Identifier: Apache-2.0
"""The same in a module that the file imports."""

import blas_settings
import numpy
from airflow.sdk import DAG, task
from blas import threads
from seen import see

with DAG("environment_in_helper"):

    @task
    def look(i):
        loaded = [blas_settings.__name__, numpy.__name__]
        see("environment_in_helper", threads=threads(), loaded=loaded)

    look.expand(i=[0, 1])
