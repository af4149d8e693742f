# SPDX-License-Identifier: Apache-2.0
"""Configuration in a real Airflow: examples, a change that starts a DAG, secrets, the form."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import pytest
from zk_clients import clients, wait_until

from devstack import AirflowStack, ApiError, ZkWorker, ZooKeeperServer, zk_executor_options
from devstack.airflow import ZK_EXECUTOR

EXAMPLES = Path(__file__).resolve().parents[2] / "python" / "zk_executor" / "example_dags"
DAGS = Path(__file__).parent / "dags"
STARTED = "example_zookeeper_config_changed"


def told(stack: AirflowStack) -> set[int]:
    """The changes of which Airflow knows, by their zxid."""
    try:
        events = stack.client.request("GET", "/assets/events", query={"limit": 100})
    except ApiError:
        return set()  # Airflow 3.3 cannot answer while a run that an event made has not begun
    return {
        int(found)
        for event in events["asset_events"]
        for found in re.findall(r"'mzxid': (\d+)", str(event["extra"]))
    }


def runs_of(stack: AirflowStack, dag_id: str) -> list[str]:
    return [state for (dag, _), state in stack.client.run_states().items() if dag == dag_id]


@pytest.mark.e2e
@pytest.mark.parametrize("executor", ["zk", "LocalExecutor"])
def test_configuration_in_an_airflow(
    own_zookeeper: ZooKeeperServer, airflow_stack: Callable[..., AirflowStack], executor: str
) -> None:
    """The example ends well, changes start a DAG, even those made while no triggerer ran, a
    variable comes out of ZooKeeper, a sensor waits deferred, secrets are masked, and the form's
    test button works."""
    connection = {"conn_type": "zookeeper", "host": own_zookeeper.hosts}
    stack = airflow_stack(
        "airflow",
        executor=ZK_EXECUTOR if executor == "zk" else executor,
        options={
            **zk_executor_options(own_zookeeper),
            "AIRFLOW_CONN_ZOOKEEPER_DEFAULT": json.dumps(connection),
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "True",
            "AIRFLOW__SECRETS__BACKEND": ("zk_executor.secrets.zookeeper.ZookeeperSecretsBackend"),
            "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps({"hosts": own_zookeeper.hosts}),
        },
        parallelism=8,
    )
    stack.add_dags([EXAMPLES / "example_zookeeper_config.py", DAGS / "config_secrets.py"])
    client = stack.client
    with clients(own_zookeeper.hosts) as connect, stack, ExitStack() as started:
        if executor == "zk":
            started.enter_context(ZkWorker(stack.home, stack.env, name="worker", slots=8))
        zookeeper = connect()
        zookeeper.create("/airflow/variables/color", b"green", makepath=True)
        stack.wait_dags(["example_zookeeper_config", STARTED, "config_secrets"])
        log = stack.components["triggerer"].log
        wait_until(lambda: "starting" in log.read_text(), "the trigger to start")

        runs = [("example_zookeeper_config", client.trigger("example_zookeeper_config"))]
        secrets = ("config_secrets", client.trigger("config_secrets"))
        states = client.wait_runs(runs, timeout=180, needs=stack.children())
        assert set(states.values()) == {"success"}
        wait_until(lambda: "success" in runs_of(stack, STARTED), "the change to start a DAG")

        client.wait_task(*secrets, "wait", states=("deferred",), timeout=120)
        zookeeper.create("/secrets/config/go", b"on")
        assert set(client.wait_runs([secrets], timeout=120).values()) == {"success"}
        said = client.log(*secrets, "apply")
        assert "+ db/host: plain-host" in said and "kept-secret" not in said
        run = f"/dags/{secrets[0]}/dagRuns/{quote(secrets[1])}"
        task = client.request("GET", f"{run}/taskInstances/apply")
        assert "plain-host" in str(task["rendered_fields"])
        assert "kept-secret" not in str(task["rendered_fields"])

        if executor == "zk":
            return  # what follows concerns the triggerer and the API server
        triggerer = stack.components["triggerer"]
        triggerer.stop(20)
        stack.run("set", "zk", "config", "set", "/examples/config", "feature/enabled", "yes")
        change = zookeeper.get("/examples/config/feature/enabled")[1].mzxid
        assert change not in told(stack)
        triggerer.start()
        wait_until(lambda: change in told(stack), "the change to be told later")

        body = {"connection_id": "tried", "conn_type": "zookeeper", "host": own_zookeeper.hosts}
        tried = client.request("POST", "/connections/test", body)
        assert tried["status"] is True and own_zookeeper.hosts in tried["message"]
        tried = client.request("POST", "/connections/test", {**body, "schema": "nowhere"})
        assert tried["status"] is False and "/nowhere" in tried["message"]
