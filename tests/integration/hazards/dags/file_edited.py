# SPDX-License-Identifier: Apache-2.0
"""The DAG file itself is edited in place."""

import pandas
from airflow.sdk import DAG, task
from seen import see

VALUE = "old"

with DAG("file_edited"):

    @task
    def look(i):
        see("file_edited", value=VALUE, loaded=pandas.__name__)

    look.expand(i=[0, 1])
