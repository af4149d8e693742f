# SPDX-License-Identifier: Apache-2.0
"""A lock, a semaphore, a read/write lock and a barrier.

Runs as it is with the connection ``zookeeper_default``; its znodes are below /examples.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, task

from zk_executor.locks import (
    current_lock,
    zk_barrier,
    zk_lock,
    zk_read_lock,
    zk_semaphore,
    zk_write_lock,
)

# Airflow fails a deferred task whose trigger fires before its scheduler has noted the deferral.
AGAIN = {"retries": 2, "retry_delay": timedelta(seconds=1)}


@dag(schedule=None, catchup=False, default_args=AGAIN, tags=["example", "zookeeper"])
def example_zookeeper_locks() -> None:
    # [START howto_zk_lock]
    @task
    @zk_lock("/examples/ledger", timeout=600)
    def post(entry: int) -> int:
        """One at a time over all DAGs and workers. Whoever waits has no worker's slot."""
        token = current_lock().token
        print(f"posting {entry}; the ledger refuses tokens below {token}")
        return token

    # [END howto_zk_lock]

    # [START howto_zk_semaphore]
    @task
    @zk_semaphore("/examples/licences", 2, timeout=600)
    def render(frame: int) -> None:
        """Two at a time."""
        print(f"rendering {frame}")

    # [END howto_zk_semaphore]

    # [START howto_zk_rwlock]
    @task
    @zk_read_lock("/examples/catalogue", timeout=600)
    def report() -> None:
        """Together with other readers."""

    @task
    def reindex() -> None:
        """As a context manager a lock covers a part of a task, and waits in its slot."""
        with zk_write_lock("/examples/catalogue", timeout=600) as lock:
            lock.check()

    # [END howto_zk_rwlock]

    # [START howto_zk_barrier]
    @task
    @zk_barrier("/examples/start", parties=3, timeout=600)
    def together(part: int) -> None:
        """None of the three begins before all are there."""

    # [END howto_zk_barrier]

    tokens = post.expand(entry=[1, 2, 3])
    tokens >> render.expand(frame=[1, 2, 3, 4]) >> [report(), reindex()]
    together.expand(part=[1, 2, 3])


example_zookeeper_locks()
