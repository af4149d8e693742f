# SPDX-License-Identifier: Apache-2.0
"""A no-op task on Celery with Redis, configured as Airflow's provider does it, and its producer.

Runs in .build/bench-venv, which has Celery and no Airflow: as the worker's application, and as a
script, which sends COUNT tasks and waits for their results, once for each line on stdin.

Address: environment BENCH_REDIS, host:port.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from typing import Any

from celery import Celery
from celery.signals import worker_ready

ADDRESS = os.environ["BENCH_REDIS"]
# As long as the workload of ours.
PAYLOAD = json.dumps({"token": os.urandom(200).hex(), "text": "dag_id=bench/run_id=manual/" * 22})
CHUNK = 500

app = Celery("bench", broker=f"redis://{ADDRESS}/0", backend=f"redis://{ADDRESS}/1")
# The provider's DEFAULT_CELERY_CONFIG.
app.conf.update(
    accept_content=["json"],
    event_serializer="json",
    task_acks_late=True,
    task_default_queue="default",
    task_default_exchange="default",
    task_track_started=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
)


@app.task(name="noop")
def noop(workload: str) -> None:
    """Nothing."""


@worker_ready.connect
def tell(**_: Any) -> None:
    """For who started us; at our log level Celery does not say it."""
    print("worker is ready.", flush=True)


def run(count: int) -> dict[str, Any]:
    """Send and wait; results are read as the provider reads them from Redis, many at once."""
    started = time.monotonic()
    waiting = []
    with app.producer_pool.acquire(block=True) as producer:
        for _ in range(count):
            task_id = str(uuid.uuid4())
            noop.apply_async(
                (PAYLOAD,), task_id=task_id, queue="default", producer=producer, ignore_result=False
            )
            waiting.append(app.backend.get_key_for_task(task_id))
    sent = time.monotonic()
    while waiting:
        left = []
        for at in range(0, len(waiting), CHUNK):
            chunk = waiting[at : at + CHUNK]
            for key, value in zip(chunk, app.backend.mget(chunk), strict=True):
                if not value or app.backend.decode_result(value)["status"] != "SUCCESS":
                    left.append(key)
        waiting = left
        if waiting:
            time.sleep(0.02)
    ended = time.monotonic()
    return {
        "count": count,
        "send_per_s": count / (sent - started),
        "per_s": count / (ended - started),
    }


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(run(int(line))), flush=True)
