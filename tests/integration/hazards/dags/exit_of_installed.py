# SPDX-License-Identifier: Apache-2.0
"""An installed package registers something to be done at exit when it is imported."""

import hazards_exit
from airflow.sdk import DAG, task
from seen import see

with DAG("exit_of_installed"):

    @task
    def look(i):
        see("exit_of_installed", loaded=hazards_exit.LOADED)

    look.expand(i=[0, 1])
