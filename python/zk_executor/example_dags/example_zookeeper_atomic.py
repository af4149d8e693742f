# SPDX-License-Identifier: Apache-2.0
"""Changes of znodes that are made once, entirely or not at all.

Runs as it is with the connection ``zookeeper_default``; its znodes are below /examples.
"""

from __future__ import annotations

from airflow.sdk import dag

from zk_executor.operators.atomic import ZookeeperAtomicOperator


@dag(schedule=None, catchup=False, tags=["example", "zookeeper"])
def example_zookeeper_atomic() -> None:
    # [START howto_zk_atomic]
    prepare = ZookeeperAtomicOperator(
        task_id="prepare", action="create_if_absent", path="/examples/atomic/state", value="new"
    )
    # Exact, however many tasks add at the same time, and whatever happens to ZooKeeper.
    count = ZookeeperAtomicOperator.partial(
        task_id="count", action="add", path="/examples/atomic/counter"
    ).expand(amount=[1, 1, 1, 10])
    # Only if nobody changed it since ``prepare`` looked.
    swap = ZookeeperAtomicOperator(
        task_id="swap",
        action="compare_and_set",
        path="/examples/atomic/state",
        value="run {{ run_id }}",
        version="{{ ti.xcom_pull(task_ids='prepare')['version'] }}",
    )
    both = ZookeeperAtomicOperator(
        task_id="both",
        action="transaction",
        operations=[
            {
                "verb": "check",
                "path": "/examples/atomic/state",
                "version": "{{ ti.xcom_pull(task_ids='swap')['version'] }}",
            },
            {"verb": "set", "path": "/examples/atomic/counter", "value": "0"},
        ],
    )
    # [END howto_zk_atomic]
    prepare >> count >> swap >> both


example_zookeeper_atomic()
