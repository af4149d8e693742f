# SPDX-License-Identifier: Apache-2.0
"""A configuration with a password, rendered from a template; and a variable out of ZooKeeper."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Variable, task

from zk_executor.operators.config import ZookeeperConfigOperator
from zk_executor.sensors.config import ZookeeperConfigSensor

with DAG("config_secrets", schedule=None):
    apply = ZookeeperConfigOperator(
        task_id="apply",
        action="apply",
        path="/secrets/config",
        tree={"db": {"host": "plain-host", "password": "{{ 'kept-' ~ 'secret' }}"}},
    )

    @task
    def read() -> str:
        return Variable.get("color")

    # A retry: Airflow fails a deferred task whose trigger fires before its scheduler has noted the
    # deferral.
    wait = ZookeeperConfigSensor(
        task_id="wait",
        path="/secrets/config",
        key="go",
        equals="on",
        timeout=300,
        retries=2,
        retry_delay=timedelta(0),
    )
    apply >> read() >> wait
