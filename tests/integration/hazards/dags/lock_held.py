# SPDX-License-Identifier: Apache-2.0
"""Locks that the module takes and does not give back."""

import threading

from airflow.sdk import DAG, task
from seen import see

LOCK = threading.Lock()
LOCK.acquire()
REENTRANT = threading.RLock()
REENTRANT.acquire()

with DAG("lock_held"):

    @task
    def look(i):
        other = []
        thread = threading.Thread(target=lambda: other.append(REENTRANT.acquire(blocking=False)))
        thread.start()
        thread.join()
        see(
            "lock_held",
            locked=LOCK.locked(),
            ours=REENTRANT.acquire(blocking=False),
            others=other[0],
        )

    look.expand(i=[0, 1])
