# SPDX-License-Identifier: Apache-2.0
"""What a worker has to be told, and what its tasks can see of it.

The workers have a configuration of their own, in a home of their own. Tasks write what they see
into a file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from devstack import AirflowStack, ZkWorker, ZooKeeperServer, zk_executor_options

pytestmark = pytest.mark.e2e

DAG = """\
import json
import os
from pathlib import Path

from airflow.sdk import dag, task


def started_with(pid):
    return Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\\0")


@dag
def looks_around(report="/nowhere"):
    @task
    def look(params):
        from airflow.sdk.configuration import conf

        parts = [("api_auth", "jwt_secret"), ("api", "secret_key"), ("zk_executor", "digest_auth"),
                 ("zk_executor", "encryption_key"), ("database", "sql_alchemy_conn")]
        seen = {
            "environ": dict(os.environ),
            "self": started_with("self"),
            "parent": started_with(os.getppid()),
            "conf": {f"{s}.{o}": conf.get(s, o, fallback="") for s, o in parts},
        }
        path = Path(params["report"])
        path.with_suffix(".new").write_text(json.dumps(seen))
        path.with_suffix(".new").rename(path)

    look()


looks_around()
"""
OURS = (
    "AIRFLOW__API__SECRET_KEY",
    "AIRFLOW__API_AUTH__JWT_SECRET",
    "AIRFLOW__ZK_EXECUTOR__DIGEST_AUTH",
    "AIRFLOW__ZK_EXECUTOR__ENCRYPTION_KEY",
)
LOGIN = "airflow:a-password-for-zookeeper"
SEALING = "a key that seals workloads"


@pytest.fixture(scope="module")
def stack(session_folder: Path, airflow_database: Callable[[], str]) -> Iterator[AirflowStack]:
    folder = session_folder / "worker-secrets"
    with ZooKeeperServer(folder / "zookeeper") as zookeeper:
        airflow = AirflowStack(
            folder / "airflow",
            database=airflow_database(),
            executor="ZkExecutor",
            options={
                **zk_executor_options(zookeeper),
                "AIRFLOW__ZK_EXECUTOR__DIGEST_AUTH": LOGIN,
                "AIRFLOW__ZK_EXECUTOR__ENCRYPTION_KEY": SEALING,
            },
        )
        airflow.dags.mkdir(parents=True)
        (airflow.dags / "looks_around.py").write_text(DAG)
        with airflow:
            airflow.wait_dags(["looks_around"])
            airflow.client.unpause("looks_around")
            yield airflow


def look_around(stack: AirflowStack, env: Mapping[str, str], folder: Path) -> tuple[dict, str]:
    """What a task sees on a worker with that environment, and what the worker has logged."""
    folder.mkdir(parents=True, exist_ok=True)
    report = folder / "report.json"
    with ZkWorker(folder, env, name=folder.name, http_port=stack.log_port) as worker:
        run_id = stack.client.trigger("looks_around", conf={"report": str(report)})
        run = ("looks_around", run_id)
        needs = [worker.process, *stack.children()]
        states = stack.client.wait_runs([run], timeout=120, needs=needs)
        output = worker.output()
    assert states[run] == "success", output
    return json.loads(report.read_text()), output


def test_a_worker_without_the_signing_key_and_the_database_runs_tasks(
    stack: AirflowStack, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    # As in the airflow.cfg that an airflow command writes where there is none.
    (home / "airflow.cfg").write_text("[api_auth]\njwt_secret = invented\n")
    env = {**stack.worker_env, "AIRFLOW_HOME": str(home)}
    known = {value for name, value in env.items() if "JWT" in name or "SQL_ALCHEMY" in name}
    assert known == {""}
    seen, output = look_around(stack, env, tmp_path / "bare")
    assert stack.env["AIRFLOW__API_AUTH__JWT_SECRET"] not in json.dumps(seen)
    assert "can be read on this host" not in output
    assert "ZooKeeper is open" not in output
    # The native supervisor ran it, and the API server can show its log.
    (task,) = [one for one in stack.client.tasks("looks_around") if one.hostname]
    assert task.state == "success"


@pytest.mark.parametrize("supervisor", ["native", "airflow"])
def test_a_task_sees_no_secret_of_a_worker_that_was_told_all_of_them(
    stack: AirflowStack, tmp_path: Path, supervisor: str
) -> None:
    secrets = {
        "AIRFLOW__WEBSERVER__SECRET_KEY": "older name of the key for logs",
        "AIRFLOW__BLUE___ZK_EXECUTOR__DIGEST_AUTH": "blue:a-password-of-a-team",
        **{
            f"{name}{form}": f"echo the {form} of {name}"
            for name in (*OURS, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN")
            for form in ("_CMD", "_SECRET")
        },
    }
    env = {**stack.env, **secrets, "AIRFLOW__ZK_EXECUTOR__SUPERVISOR": supervisor}
    seen, output = look_around(stack, env, tmp_path / supervisor)
    text = json.dumps(seen)
    for name, value in {**secrets, **{name: stack.env[name] for name in OURS}}.items():
        assert value not in text, name
        assert name not in seen["environ"], name
    assert stack.env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] not in text
    assert seen["environ"]["AIRFLOW__ZK_EXECUTOR__ROOT"] == "/zk-executor"
    (told,) = [line for line in output.splitlines() if "can be read on this host" in line]
    assert "[api_auth] jwt_secret" in told
    for value in secrets.values():
        assert value not in output
