# SPDX-License-Identifier: Apache-2.0
"""A module that appears in a folder of PYTHONPATH, before an installed one of its name."""

import hazards_shadowed
import pandas
from airflow.sdk import DAG, task
from seen import see

with DAG("helper_shadows"):

    @task
    def look(i):
        see("helper_shadows", value=hazards_shadowed.VALUE, loaded=pandas.__name__)

    look.expand(i=[0, 1])
