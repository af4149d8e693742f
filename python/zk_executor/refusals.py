# SPDX-License-Identifier: Apache-2.0
"""Workloads that no worker will have: each fails, with its reason where people look for it.

Threads: the scheduler's. Errors: fail() and not_placed() pass on what Airflow's own bookkeeping
raises; nothing else raises.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from airflow.models.connection_test import ConnectionTestKey

from zk_executor import connection_tests, version_compat
from zk_executor.texts import printable, words

if TYPE_CHECKING:
    from zk_executor.executor import ZkExecutor

# What the core refuses to take is offered at so many heartbeats.
MAX_PLACE_ATTEMPTS = 3


class Refusals:
    """Counts what was refused, and fails what will not be taken, for one executor."""

    def __init__(self, executor: ZkExecutor) -> None:
        self._executor = executor
        self._not_queued: list[tuple[Hashable, str]] = []
        self._attempts: dict[Hashable, int] = {}

    def fail(self, key: Hashable, reason: str) -> None:
        """Fails a workload that no worker has, and says why where people look for it.

        For a task that is its audit log, for a callback the event's own text, and for a test of a
        connection, of which Airflow reads no events, its row.
        """
        self.forget(key)
        version_compat.pop_queued(self._executor, key)
        self._executor.fail(key, reason)
        if isinstance(key, ConnectionTestKey):
            self.fail_test(key, reason)
        else:  # Airflow itself leaves out what is no task
            self._executor.log_task_event(event="zk_executor not placed", extra=reason, ti_key=key)

    def fail_test(self, key: ConnectionTestKey, reason: str) -> None:
        """Marks a connection test as failed, unless its worker has told how it ended."""
        try:
            connection_tests.fail(str(key), printable(reason))
        except Exception:
            self._executor.log.exception("cannot mark a connection test as failed key=%s", key)

    def not_queued(self, key: Hashable, error: Exception) -> None:
        """Notes what could not be queued. Airflow has not committed its row yet: told later."""
        self._not_queued.append((key, f"could not be queued: {words(error)}"))

    def tell_not_queued(self) -> None:
        """Fails what was noted by not_queued()."""
        while self._not_queued:
            key, reason = self._not_queued.pop(0)
            try:
                self.fail(key, reason)
            except Exception:
                self._executor.log.exception("cannot fail a workload key=%s", key)

    def not_placed(self, key: Hashable, error: Exception) -> None:
        """Counts that the core refused to take a workload, and fails it the last time."""
        attempts = self._attempts.get(key, 0) + 1
        self._attempts[key] = attempts
        if attempts >= MAX_PLACE_ATTEMPTS:
            self.fail(key, f"could not be placed in ZooKeeper: {words(error)}")

    def forget(self, key: Hashable) -> None:
        """Counts anew from now on: the workload was taken, or has gone."""
        self._attempts.pop(key, None)
