# SPDX-License-Identifier: Apache-2.0
"""A real Airflow while ZooKeeper is away: its API server and its triggerer go on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from zk_clients import clients, wait_until

from devstack import AirflowStack, ZooKeeperServer

DAGS = Path(__file__).parent / "dags"
WATCHERS = 900
DEFAULT_SETTINGS = ("-Djute.maxbuffer=1048575",)


def watched(server: ZooKeeperServer) -> int:
    """Watches that the server keeps."""
    lines = server.ask("mntr").splitlines()
    return sum(int(line.split("\t")[1]) for line in lines if line.startswith("zk_watch_count"))


def told(stack: AirflowStack) -> set[int]:
    """The changes of which Airflow knows, by their zxid."""
    events = stack.client.request("GET", "/assets/events", query={"limit": 100})
    return {int(found) for found in re.findall(r"'mzxid': (\d+)", str(events["asset_events"]))}


@pytest.mark.e2e
def test_api_server_and_triggerer_go_on_while_zookeeper_is_away(
    tmp_path: Path, session_folder: Path, airflow_stack: Callable[..., AirflowStack]
) -> None:
    """A thousand names and 900 triggers are known when it goes away. Runs that ask for variables,
    and others' deferred tasks, end while it is away; later, what is new is found."""
    server = ZooKeeperServer(tmp_path / "zookeeper", jvm=DEFAULT_SETTINGS)
    stack = airflow_stack(
        "airflow",
        options={
            "AIRFLOW_CONN_ZOOKEEPER_DEFAULT": json.dumps(
                {"conn_type": "zookeeper", "host": server.hosts}
            ),
            "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "True",
            "AIRFLOW__SECRETS__BACKEND": "zk_executor.secrets.zookeeper.ZookeeperSecretsBackend",
            "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps({"hosts": server.hosts}),
        },
        parallelism=8,
    )
    stack.add_dags([DAGS / "outages.py"])
    client = stack.client
    api_log = stack.components["api-server"].log

    def run(dag_id: str, **conf: str) -> str:
        """Runs it to a good end."""
        run_id = client.trigger(dag_id, conf=conf)
        states = client.wait_runs([(dag_id, run_id)], timeout=240, needs=stack.children())
        assert set(states.values()) == {"success"}
        return run_id

    def value_of(name: str) -> str:
        run_id = run("outages_one", name=name)
        path = f"/dags/outages_one/dagRuns/{run_id}/taskInstances/one/xcomEntries/return_value"
        return str(client.request("GET", path)["value"])

    with server, stack:
        stack.wait_dags(["outages_many", "outages_one", "outages_deferred", "outages_watched"])
        run("outages_many")
        wait_until(lambda: watched(server) >= WATCHERS, "the triggerer to watch")
        assert value_of("missing1") == "nothing"

        server.stop()
        wait_until(lambda: "last known values" in api_log.read_text(), "the outage to be seen")
        assert value_of("missing1") == "nothing"
        assert value_of("never-asked-for") == "nothing"
        run("outages_deferred")

        server.start()
        wait_until(lambda: watched(server) >= WATCHERS, "the triggerer to watch again")
        # A task asks ZooKeeper itself, and only for what it does not find there the API server.
        assert value_of("missing2") == "nothing"
        with clients(server.hosts) as connect:
            zookeeper = connect()
            zookeeper.create("/airflow/variables/missing1", b"here", makepath=True)
            assert value_of("missing1") == "here"
            run("outages_deferred")
            changed = [
                zookeeper.create(f"/watched/{number}", makepath=True, include_data=True)[1].mzxid
                for number in (0, WATCHERS // 2, WATCHERS - 1)
            ]
        wait_until(lambda: set(changed) <= told(stack), "changes to be told")
