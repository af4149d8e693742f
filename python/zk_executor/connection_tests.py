# SPDX-License-Identifier: Apache-2.0
"""Ends a connection test in Airflow's database that no worker will end.

The worker tells the API server what came of a test, and Airflow takes no notice of an executor's
event about one. So where the worker can't, the executor has to write to the database itself, as
the scheduler does for tests that no executor takes; else the person who asked waits until
Airflow's reaper says that time is up, and never learns why.

Threads: the scheduler's, between its own transactions. Errors: those of the database.
"""

from __future__ import annotations

from uuid import UUID

from airflow.models.connection_test import ConnectionTestRequest, ConnectionTestState
from airflow.utils.session import create_session

REASON_CHARACTERS_MAX = 2000
_OPEN = (ConnectionTestState.PENDING, ConnectionTestState.QUEUED, ConnectionTestState.RUNNING)


def fail(test_id: str, reason: str) -> bool:
    """Marks the test as failed, with the reason. False: it is gone or has ended already."""
    # The scheduler's scoped session is not ours to commit.
    with create_session(scoped=False) as session:
        test = session.get(ConnectionTestRequest, UUID(test_id), with_for_update=True)
        if test is None or test.state not in _OPEN:
            return False
        test.state = ConnectionTestState.FAILED
        test.result_message = reason[:REASON_CHARACTERS_MAX]
        return True
