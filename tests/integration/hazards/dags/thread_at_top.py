# SPDX-License-Identifier: Apache-2.0
"""A thread and a pool of threads that the module starts and its task needs."""

import queue
import threading
from concurrent.futures import ThreadPoolExecutor

from airflow.sdk import DAG, task
from seen import see

ASKED, ANSWERS = queue.Queue(), queue.Queue()


def serve():
    while True:
        ANSWERS.put(ASKED.get() + 1)


THREAD = threading.Thread(target=serve, daemon=True)
THREAD.start()
POOL = ThreadPoolExecutor(1)
AT_TOP = POOL.submit(sum, [1, 2]).result()

with DAG("thread_at_top"):

    @task
    def look(i):
        ASKED.put(1)
        see(
            "thread_at_top",
            alive=THREAD.is_alive(),
            answer=ANSWERS.get(timeout=30),
            pool=[AT_TOP, POOL.submit(sum, [2, 3]).result(30)],
        )

    look.expand(i=[0, 1])
