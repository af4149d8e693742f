# SPDX-License-Identifier: Apache-2.0
"""A database connection that a library of C has made."""

import os

import psycopg2
from airflow.sdk import DAG, task
from seen import see

CONNECTION = psycopg2.connect(os.environ["HAZARDS_DATABASE"])
CONNECTION.autocommit = True

with DAG("database_connection"):

    @task
    def look(i):
        wrong = 0
        cursor = CONNECTION.cursor()
        for k in range(100):
            cursor.execute("SELECT %s::int", (os.getpid() * 100 + k,))
            wrong += cursor.fetchone()[0] != os.getpid() * 100 + k
        see("database_connection", wrong=wrong, backend=CONNECTION.info.backend_pid)

    look.expand(i=[0, 1])
