# SPDX-License-Identifier: Apache-2.0
"""Members of a group, keys that belong to them, and an election.

Runs as it is with the connection ``zookeeper_default``; its znodes are below /examples and
/zk_executor_members.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, task

from zk_executor.hooks.zookeeper import ZookeeperHook
from zk_executor.members import Member, Registration
from zk_executor.operators.cluster import ZookeeperClusterOperator
from zk_executor.sensors.cluster import ZookeeperClusterSensor

GROUP = "example-service"
# Airflow fails a deferred task whose trigger fires before its scheduler has noted the deferral.
AGAIN = {"retries": 2, "retry_delay": timedelta(seconds=1)}


def make_report() -> str:
    return "the report"


@dag(schedule=None, catchup=False, default_args=AGAIN, tags=["example", "zookeeper"])
def example_zookeeper_cluster() -> None:
    # [START howto_zk_members]
    @task
    def serve() -> None:
        """A service that shows itself while it runs; outside of Airflow it looks the same."""
        with (
            ZookeeperHook("zookeeper_default") as hook,
            Registration(hook.get_conn(), GROUP, Member("one", slots=4)) as registration,
        ):
            registration.update(state="draining")

    gone = ZookeeperClusterSensor(
        task_id="gone", group=GROUP, member="one", present=False, timeout=600
    )
    # [END howto_zk_members]

    # [START howto_zk_cluster]
    members = ZookeeperClusterOperator(task_id="members", action="members", group=GROUP)
    owners = ZookeeperClusterOperator(
        task_id="owners", action="route", group=GROUP, keys=["berlin", "paris", "rome"], count=2
    )
    shares = ZookeeperClusterOperator(
        task_id="shares", action="distribution", group=GROUP, keys=[str(n) for n in range(100)]
    )
    # Exactly one of the three runs the function; the others say who did.
    elect = [
        ZookeeperClusterOperator(
            task_id=f"elect_{number}",
            action="elect",
            path="/examples/elections/report",
            python_callable=make_report,
        )
        for number in range(3)
    ]
    # [END howto_zk_cluster]
    serve() >> gone >> [members, owners, shares, *elect]


example_zookeeper_cluster()
