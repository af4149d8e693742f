# SPDX-License-Identifier: Apache-2.0
"""A library that the file changes for itself."""

import pandas
from airflow.sdk import DAG, task
from seen import see

pandas.DataFrame.hazards_patch = "patched"
ORIGINAL = pandas.DataFrame.head
pandas.DataFrame.head = lambda self, n=5: ORIGINAL(self, 1)

with DAG("library_patched"):

    @task
    def look(i):
        frame = pandas.DataFrame({"a": range(9)})
        see("library_patched", patch=pandas.DataFrame.hazards_patch, rows=len(frame.head()))

    look.expand(i=[0, 1])
