# SPDX-License-Identifier: Apache-2.0
"""Mapped tasks that contend for one lock and one counter.

The lock guards a file: each holder writes that it is in, with its token, and that it is out.
"""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from typing import Any

from airflow.sdk import dag, task
from kazoo.client import KazooClient

from zk_executor.locks import current_lock, zk_lock
from zk_executor.locks.sessions import close_client, open_client
from zk_executor.operators.atomic_core import Atomic


def count(context: Any, result: Any) -> None:
    """Outside of the lock, so that the counter has contention of its own."""
    client = open_client("zookeeper_default")
    try:
        Atomic(client, "zookeeper_default").add("/contended/counter", 1)
    finally:
        close_client(client)


def write(text: str) -> None:
    handle = os.open(os.environ["GUARDED_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, text.encode())
    os.close(handle)


@dag(schedule=None, max_active_tasks=64)
def contended() -> None:
    @task
    def numbers() -> list[int]:
        return list(range(int(os.environ["CONTENDERS"])))

    # Retries, because Airflow fails a deferred task whose trigger fires before its scheduler has
    # noted the deferral.
    @task(post_execute=count, retries=3, retry_delay=timedelta(0))
    @zk_lock("/contended/lock", standby=int(os.environ["STANDBY"]))
    def contend(number: int) -> int:
        token = current_lock().token
        write(f"in {number} {token}\n")
        write(f"out {number} {token}\n")
        return token

    contend.expand(number=numbers())


@dag(schedule=None)
def loses_its_session() -> None:
    @task(retries=1, retry_delay=timedelta(0))
    @zk_lock("/contended/expiring")
    def hold(ti: Any = None) -> None:
        """The first try blocks in a system call until it is interrupted."""
        write(f"try {ti.try_number} {current_lock().token}\n")
        if ti.try_number == 1:
            end_session(current_lock()._client.client_id)
            signal.pause()
            write("went on\n")

    hold()


def end_session(session: Any) -> None:
    """As if the servers had not heard of it for too long: another client takes it and closes."""
    servers = os.environ["AIRFLOW__ZK_EXECUTOR__HOSTS"]
    thief = KazooClient(hosts=servers, client_id=session)
    thief.start()
    close_client(thief)


contended()
loses_its_session()
