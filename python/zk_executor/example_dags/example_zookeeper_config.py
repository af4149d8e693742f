# SPDX-License-Identifier: Apache-2.0
"""Configuration in ZooKeeper: applied, read, changed, waited for, rolled back.

Uses the connection ``zookeeper_default``; without one, the servers of [zk_executor] hosts.
A change of the configuration starts the second DAG:

    airflow zk config set /examples/config feature/enabled true
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Asset, AssetWatcher, task

from zk_executor.operators.config import ZookeeperConfigOperator
from zk_executor.sensors.config import ZookeeperConfigSensor
from zk_executor.triggers.zookeeper import ZnodeChangedTrigger

PATH = "/examples/config"
# Airflow fails a deferred task whose trigger fires before its scheduler has noted the deferral.
AGAIN = {"retries": 2, "retry_delay": timedelta(seconds=1)}

with DAG(
    "example_zookeeper_config",
    schedule=None,
    catchup=False,
    default_args=AGAIN,
    tags=["zookeeper"],
):
    wanted = {
        "db": {"host": "db.example.org", "port": 5432},
        "feature": {"enabled": False, "limit": 10},
    }
    show = ZookeeperConfigOperator(
        task_id="show", action="apply", path=PATH, tree=wanted, dry_run=True
    )
    apply = ZookeeperConfigOperator(
        task_id="apply", action="apply", path=PATH, tree=wanted, comment="as it has to be"
    )
    change = ZookeeperConfigOperator(
        task_id="change", action="set", path=PATH, key="feature/limit", value="{{ 10 + 10 }}"
    )
    wait = ZookeeperConfigSensor(
        task_id="wait", path=PATH, key="feature/limit", matches=r"\d+", timeout=60
    )
    read = ZookeeperConfigOperator(task_id="read", action="get", path=PATH)

    @task
    def use(config: dict) -> str:
        """What a task does with it."""
        limit = int(config["value"]["feature"]["limit"])
        print(f"revision {config['revision']}: at most {limit} from {config['value']['db']}")
        return f"limit {limit}"

    used = use(read.output)
    back = ZookeeperConfigOperator(
        task_id="back",
        action="rollback",
        path=PATH,
        revision="{{ ti.xcom_pull(task_ids='apply')['revision'] }}",
    )
    show >> apply >> change >> wait >> read
    used >> back

configuration = Asset(
    "zookeeper_example_config",
    watchers=[AssetWatcher("zookeeper", trigger=ZnodeChangedTrigger(PATH, tree=True))],
)

with DAG("example_zookeeper_config_changed", schedule=[configuration], tags=["zookeeper"]):

    @task
    def tell(triggering_asset_events=None) -> None:
        """What the trigger saw is in the event."""
        for events in (triggering_asset_events or {}).values():
            for event in events:
                print(event.extra)

    tell()
