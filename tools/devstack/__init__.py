# SPDX-License-Identifier: Apache-2.0
"""ZooKeeper, PostgreSQL, Airflow and zk-worker as child processes, for the demo and the tests.

Purpose: start each of them on free ports in a folder of its own, wait until it answers, and leave
nothing behind. Nothing here imports Airflow, so it starts at once.

Threads: use from one thread, the main one. The kernel ends a child when the *thread* that started
it ends, which is how nothing survives a crash of the test run.

Errors: everything raises DevStackError, whose text says what was awaited and shows the log's end.
"""

from __future__ import annotations

from devstack.airflow import AirflowStack, zk_executor_options
from devstack.client import AirflowClient, ApiError, TaskState
from devstack.ensemble import ZooKeeperEnsemble
from devstack.fake_zygote import fake_python
from devstack.network import Network
from devstack.postgres import PostgresServer
from devstack.processes import (
    Child,
    DevStackError,
    become_subreaper,
    free_port,
    kill_strays,
    wait_until,
)
from devstack.steps import Steps
from devstack.worker import ZkWorker
from devstack.zookeeper import ZooKeeperServer

__all__ = [
    "AirflowClient",
    "AirflowStack",
    "ApiError",
    "Child",
    "DevStackError",
    "Network",
    "PostgresServer",
    "Steps",
    "TaskState",
    "ZkWorker",
    "ZooKeeperEnsemble",
    "ZooKeeperServer",
    "become_subreaper",
    "fake_python",
    "free_port",
    "kill_strays",
    "wait_until",
    "zk_executor_options",
]
