# SPDX-License-Identifier: Apache-2.0
"""The host name under which a worker's tasks are known, and their logs fetched."""

from __future__ import annotations

import os

VARIABLE = "_ZK_EXECUTOR_WORKER_HOST"


def configured() -> str:
    """[zk_executor] worker_host. Airflow calls this as its [core] hostname_callable in tasks."""
    return os.environ[VARIABLE]


def environment(host: str) -> dict[str, str]:
    """What makes Airflow use ``host``; empty for Airflow's own choice."""
    if not host:
        return {}
    return {
        VARIABLE: host,
        "AIRFLOW__CORE__HOSTNAME_CALLABLE": f"{configured.__module__}.{configured.__name__}",
    }
