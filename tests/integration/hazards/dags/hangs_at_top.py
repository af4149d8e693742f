# SPDX-License-Identifier: Apache-2.0
"""The parse waits for ever in native code: for a database that does not answer."""

import os

import psycopg2
from airflow.sdk import DAG, task
from seen import after, armed, see

if armed("hangs_at_top"):
    after("hangs_at_top", "connects")
    psycopg2.connect(host=os.environ["HAZARDS_SOCKETS"], port=5432, user="x", dbname="x")

with DAG("hangs_at_top"):

    @task
    def look(i):
        see("hangs_at_top", ran=True)

    look.expand(i=[0, 1])
