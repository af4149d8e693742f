# SPDX-License-Identifier: Apache-2.0
"""A helper module that the test deletes; its bytecode stays."""

from airflow.sdk import DAG, task
from seen import see

try:
    from deleted_values import VALUE
except ImportError:
    VALUE = "new"

with DAG("helper_deleted"):

    @task
    def look(i):
        see("helper_deleted", value=VALUE)

    look.expand(i=[0, 1])
