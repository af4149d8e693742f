# SPDX-License-Identifier: Apache-2.0
"""DAGs whose tasks end in every unpleasant way, for test_supervision.py."""

from __future__ import annotations

import datetime
import os
import signal
import subprocess
from pathlib import Path

from airflow.sdk import dag, task

START = datetime.datetime(2025, 1, 1, tzinfo=datetime.timezone.utc)
MARKS = Path(os.environ["AIRFLOW_HOME"]) / "marks"


def mark(name: str) -> None:
    MARKS.mkdir(exist_ok=True)
    with (MARKS / name).open("a") as file:
        file.write("x")


def wait_at_gate(name: str) -> None:
    """Block until the test opens the FIFO of this name for writing."""
    MARKS.mkdir(exist_ok=True)
    os.mkfifo(MARKS / name)
    (MARKS / name).read_bytes()


@dag(schedule=None, start_date=START, catchup=False)
def killed_then_retried():
    @task(retries=1, retry_delay=datetime.timedelta(seconds=0))
    def kill_myself_once(ti=None):
        print("first words")
        if ti.try_number == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    kill_myself_once()


@dag(schedule=None, start_date=START, catchup=False)
def killed_for_good():
    @task
    def kill_myself():
        os.kill(os.getpid(), signal.SIGKILL)

    kill_myself()


@dag(schedule=None, start_date=START, catchup=False)
def supervisor_killed():
    @task(retries=1, retry_delay=datetime.timedelta(seconds=0))
    def kill_my_supervisor(ti=None):
        mark("supervisor_killed")
        if ti.try_number == 1:
            os.kill(os.getppid(), signal.SIGKILL)
            signal.pause()

    kill_my_supervisor()


@dag(schedule=None, start_date=START, catchup=False)
def fails_and_calls_back():
    @task(on_failure_callback=lambda context: mark("failure_callback"))
    def fail():
        raise RuntimeError("this one always fails")

    fail()


@dag(schedule=None, start_date=START, catchup=False)
def takes_too_long():
    @task(execution_timeout=datetime.timedelta(seconds=1))
    def sleep():
        signal.pause()

    sleep()


@dag(schedule=None, start_date=START, catchup=False)
def talks_while_it_runs():
    @task
    def talk():
        print("I am running now", flush=True)
        wait_at_gate("gate")

    talk()


@dag(schedule=None, start_date=START, catchup=False)
def two_queues():
    @task(queue="left")
    def on_the_left():
        pass

    @task(queue="right")
    def on_the_right():
        pass

    on_the_left()
    on_the_right()


@dag(schedule=None, start_date=START, catchup=False)
def nobody_serves():
    @task(queue="nobody")
    def wait_for_a_worker():
        pass

    wait_for_a_worker()


@dag(schedule=None, start_date=START, catchup=False)
def loses_its_worker():
    @task(queue="fragile", retries=1, retry_delay=datetime.timedelta(seconds=0))
    def survive(number, ti=None):
        mark(f"survive-{number}-{ti.try_number}")
        if ti.try_number == 1 and number % 2:
            subprocess.run(["sleep", "599"], check=False)
        while ti.try_number == 1:
            print("asks", ti.xcom_pull(task_ids="nobody"))  # busy till it is killed

    survive.expand(number=list(range(8)))


for make in (
    killed_then_retried,
    killed_for_good,
    supervisor_killed,
    fails_and_calls_back,
    takes_too_long,
    talks_while_it_runs,
    two_queues,
    nobody_serves,
    loses_its_worker,
):
    make()
