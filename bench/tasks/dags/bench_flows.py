# SPDX-License-Identifier: Apache-2.0
"""The flows of both DAG files: a chain, a fan of mapped tasks, and tasks that wait.

Each task writes one line when its code ends: DAG, run, task, map index, and the nanoseconds at
which its code began and ended. The sizes come from the environment: BENCH_CHAIN, BENCH_FAN,
BENCH_WAITING (comma-separated).
"""

from __future__ import annotations

import datetime
import os
import time

from airflow.sdk import chain, dag, task

START = datetime.datetime(2025, 1, 1, tzinfo=datetime.timezone.utc)
MARKS = os.environ["BENCH_MARKS"]
GATE = f"{MARKS}/gate"


def note(file, ti, began, ended):
    line = "\t".join(
        map(str, (ti.dag_id, ti.run_id, ti.task_id, ti.map_index, began, ended)),
    )
    # One write to a file that is opened for appending: lines of many tasks don't mix.
    fd = os.open(f"{MARKS}/{file}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, f"{line}\n".encode())
    os.close(fd)


@task
def tick(number, ti=None):
    began = time.time_ns()
    note("ended", ti, began, time.time_ns())


@task
def wait(number, ti=None):
    now = time.time_ns()
    note("waiting", ti, now, now)
    print("waiting at the gate")
    # A FIFO: opening it blocks, without any CPU, until somebody opens it for writing.
    with open(GATE) as gate:
        gate.read()


def make(suffix=""):
    """The DAGs of a file; their ids end in suffix."""

    @dag(dag_id=f"chain{suffix}", schedule=None, start_date=START, catchup=False)
    def one_after_the_other():
        chain(*(tick.override(task_id=f"t{i:02}")(i) for i in range(_size("CHAIN"))))

    @dag(dag_id=f"fan{suffix}", schedule=None, start_date=START, catchup=False)
    def many_at_once():
        tick.expand(number=list(range(_size("FAN"))))

    def waiting(count):
        @dag(dag_id=f"waiting_{count}{suffix}", schedule=None, start_date=START, catchup=False)
        def wait_at_the_gate():
            wait.expand(number=list(range(count)))

        wait_at_the_gate()

    one_after_the_other()
    many_at_once()
    for count in os.environ["BENCH_WAITING"].split(","):
        waiting(int(count))


def _size(name):
    return int(os.environ[f"BENCH_{name}"])
