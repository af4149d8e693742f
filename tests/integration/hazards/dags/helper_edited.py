# SPDX-License-Identifier: Apache-2.0
"""A helper module that the test edits in place; its bytecode has been written."""

from airflow.sdk import DAG, task
from edited_values import VALUE
from seen import see

with DAG("helper_edited"):

    @task
    def look(i):
        see("helper_edited", value=VALUE)

    look.expand(i=[0, 1])
