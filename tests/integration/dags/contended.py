# SPDX-License-Identifier: Apache-2.0
"""Mapped tasks that contend for one lock and one counter.

The lock guards a file: each holder writes that it is in, with its token, and that it is out.
"""

from __future__ import annotations

import os
from typing import Any

from airflow.sdk import dag, task

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

    @task(post_execute=count)
    @zk_lock("/contended/lock", standby=int(os.environ["STANDBY"]))
    def contend(number: int) -> int:
        token = current_lock().token
        write(f"in {number} {token}\n")
        write(f"out {number} {token}\n")
        return token

    contend.expand(number=numbers())


contended()
