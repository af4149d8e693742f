# SPDX-License-Identifier: Apache-2.0
"""Runs a DAG with the ZkExecutor that is installed beside this interpreter, and says how it ended.

Starts a ZooKeeper, an Airflow on SQLite and one zk-worker in a temporary folder, and runs the DAG
of the demo. For tools/fresh.sh, which calls it where nothing but the wheel is installed.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from devstack import (
    AirflowStack,
    DevStackError,
    ZkWorker,
    ZooKeeperServer,
    become_subreaper,
    kill_strays,
    zk_executor_options,
)
from devstack.airflow import ZK_EXECUTOR

DAG = "zk_executor_hello"


def main() -> int:
    become_subreaper()
    try:
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stop_at_end:
            return run(Path(folder), stop_at_end)
    except DevStackError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        kill_strays()


def run(folder: Path, stop_at_end: ExitStack) -> int:
    zookeeper = stop_at_end.enter_context(ZooKeeperServer(folder / "zookeeper"))
    airflow = AirflowStack(
        folder / "airflow", executor=ZK_EXECUTOR, options=zk_executor_options(zookeeper)
    )
    airflow.add_dags([Path(__file__).resolve().parent / "demo_dags" / f"{DAG}.py"])
    airflow.migrate()
    worker = ZkWorker(folder, airflow.env, name="wheel", http_port=airflow.log_port)
    stop_at_end.callback(airflow.stop)
    stop_at_end.callback(worker.stop)
    airflow.launch()
    worker.start()
    airflow.wait_healthy()
    airflow.wait_dags([DAG])
    run_id = airflow.client.trigger(DAG)
    needs = [*airflow.children(), worker.process]
    (state,) = airflow.client.wait_runs([(DAG, run_id)], timeout=180, needs=needs).values()
    tasks = airflow.client.tasks(DAG, run_id)
    for task in tasks:
        print(f"{task.task_id}[{task.map_index}] {task.state} on {task.hostname}")
    print(f"{DAG}: {state}, {len(tasks)} task instances")
    return 0 if state == "success" else 1


if __name__ == "__main__":
    sys.exit(main())
