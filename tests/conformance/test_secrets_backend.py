# SPDX-License-Identifier: Apache-2.0
"""Options that Airflow reads from ZooKeeper at its import leave no thread in the zygote."""

from __future__ import annotations

import json
import os

from supervised import Supervised

from devstack import ZooKeeperServer

DAG = """
from airflow.sdk import DAG, Variable, task
with DAG("d"):
    @task
    def say():
        print(Variable.get("x"))
    say()
"""
BACKEND = "zk_executor.secrets.zookeeper.ZookeeperSecretsBackend"


def test_zygote_of_a_worker_with_a_secrets_backend_has_one_thread(tmp_path, folder):
    with ZooKeeperServer(tmp_path / "zookeeper") as zookeeper:
        options = {
            "AIRFLOW__SECRETS__BACKEND": BACKEND,
            "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps({"hosts": zookeeper.hosts}),
            # Read by Airflow to be masked, when it is imported.
            "AIRFLOW__CORE__FERNET_KEY_SECRET": "fernet",
        }
        with Supervised(tmp_path / "run", **options) as supervised:
            (supervised.dags / "dag.py").write_text(DAG)
            assert supervised.run("say").outcome == "success"
            for process in ("zygote", "warm process"):
                threads = os.listdir(f"/proc/{supervised.pid_of(process)}/task")
                assert len(threads) == 1, process
            assert "zk-worker: the imports of Airflow" not in supervised.said()
