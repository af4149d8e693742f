# SPDX-License-Identifier: Apache-2.0
"""The file ends the process that parses it."""

import sys

from airflow.sdk import DAG, task
from seen import armed, see

if armed("exits_at_top"):
    sys.exit(3)

with DAG("exits_at_top"):

    @task
    def look(i):
        see("exits_at_top", ran=True)

    look.expand(i=[0, 1])
