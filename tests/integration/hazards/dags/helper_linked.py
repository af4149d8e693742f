# SPDX-License-Identifier: Apache-2.0
"""A helper package behind a symbolic link, which the test makes point elsewhere."""

from airflow.sdk import DAG, task
from linked.values import VALUE
from seen import see

with DAG("helper_linked"):

    @task
    def look(i):
        see("helper_linked", value=VALUE)

    look.expand(i=[0, 1])
