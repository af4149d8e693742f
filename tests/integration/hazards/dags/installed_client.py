# SPDX-License-Identifier: Apache-2.0
"""An installed package that connects, in native code, when it is imported."""

import hazards_client
from airflow.sdk import DAG, task
from seen import see

with DAG("installed_client"):

    @task
    def look(i):
        wrong, connection = hazards_client.ask_often()
        see("installed_client", wrong=wrong, connection=connection)

    look.expand(i=[0, 1])
