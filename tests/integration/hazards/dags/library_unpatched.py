# SPDX-License-Identifier: Apache-2.0
"""Another file with the same imports sees nothing of that change."""

import pandas
from airflow.sdk import DAG, task
from seen import see

with DAG("library_unpatched"):

    @task
    def look(i):
        frame = pandas.DataFrame({"a": range(9)})
        patch = getattr(pandas.DataFrame, "hazards_patch", "none")
        see("library_unpatched", patch=patch, rows=len(frame.head()))

    look.expand(i=[0, 1])
