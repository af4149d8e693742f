# SPDX-License-Identifier: Apache-2.0
"""A first DAG for ZkExecutor: greets from several tasks at once and says where each ran.

Shows mapped tasks, XCom, priorities, a retry that succeeds, and a task that waits without
occupying a worker (deferral).
"""

from __future__ import annotations

import datetime
import os
import socket

from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor
from airflow.sdk import dag, task


@dag(
    dag_id="zk_executor_hello",
    schedule=None,
    start_date=datetime.datetime(2025, 1, 1, tzinfo=datetime.timezone.utc),
    catchup=False,
    tags=["zk-executor"],
    doc_md=__doc__,
)
def zk_executor_hello() -> None:
    @task
    def names() -> list[str]:
        return ["Patrick", "Flavio", "Benjamin", "Mahadev"]

    @task(priority_weight=10)
    def greet(name: str) -> str:
        """One task instance for each name; they run side by side."""
        return f"Hello {name}, from process {os.getpid()} on {socket.gethostname()}"

    @task(retries=1, retry_delay=datetime.timedelta(seconds=1))
    def second_try(ti=None) -> None:
        """Fails once; the second try is a new dispatch."""
        if ti.try_number == 1:
            raise RuntimeError("failing once, so that you can see a retry")

    @task
    def print_all(greetings: list[str]) -> None:
        for greeting in greetings:
            print(greeting)

    wait = TimeDeltaSensor(
        task_id="wait_in_triggerer", delta=datetime.timedelta(seconds=3), deferrable=True
    )
    printed = print_all(greet.expand(name=names()))
    [printed, second_try()] >> wait


zk_executor_hello()
