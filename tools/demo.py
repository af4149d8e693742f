# SPDX-License-Identifier: Apache-2.0
"""Shows ZkExecutor at work on this machine: ZooKeeper, Airflow and one worker, all of them local.

Starts a ZooKeeper, a PostgreSQL, an Airflow with executor ZkExecutor and one zk-worker, runs some
of Airflow's own example DAGs and of ours, and prints how each task ended, where, and how long it
waited in the queue. Then it stays up so that you can look around in the UI.

Run it with `make demo`; for a single run that ends by itself: `make demo DEMO_ARGS=--once`.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from devstack import (
    AirflowStack,
    DevStackError,
    PostgresServer,
    Steps,
    TaskState,
    ZkWorker,
    ZooKeeperServer,
    become_subreaper,
    kill_strays,
    wait_until,
    zk_executor_options,
)
from devstack.airflow import ZK_EXECUTOR
from devstack.example_dags import DEMO
from devstack.tables import table

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".build" / "demo"
OUR_DAG = "zk_executor_hello"
# Those of the package: what DAGs can do with ZooKeeper.
EXAMPLES = ROOT / "python" / "zk_executor" / "example_dags"
# The fourth, example_zookeeper_config, starts another DAG when it likes; it waits for you.
TRIGGERED_EXAMPLES = tuple(f"example_zookeeper_{name}" for name in ("locks", "atomic", "cluster"))
# What tools/bootstrap.sh has done for this run.
STEPS = Steps("demo", ROOT / ".build" / "bootstrap-seconds.tsv")
say = STEPS.say
GOOD_TASK_STATES = frozenset({"success", "skipped"})

# Whoever ends the demo does not want to wait for its tasks.
STOP_AT_ONCE = ("--drain-timeout", "0", "--kill-grace", "1")

TRY_NEXT = """\
Everything is up. Look around, Ctrl-C stops it all.

  UI              {ui}   (no password: everyone is an admin)
  run a DAG       in the UI, or put your own file into {dags}
  the worker      curl http://{worker}/health/ready
                  curl http://{worker}/metrics
  its log         tail -f {worker_log}

In another shell, for `airflow` to find all this:

  {exports}
  {airflow} zk workers
  {airflow} zk queues
  {airflow} zk --help
"""


class Stopped(BaseException):
    """SIGINT or SIGTERM arrived."""


def main() -> int:
    options = parse_arguments()
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    become_subreaper()
    shutil.rmtree(FOLDER, ignore_errors=True)
    code = 1
    try:
        with ExitStack() as stop_at_end:
            code = run(options, stop_at_end)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            say("stopping, which takes some seconds")
    except Stopped:
        # Reached after all has been stopped on the way out.
        code = 130 if options.once else 0
    except DevStackError as error:
        # The reason is what one must see, so it comes last.
        print(f"\nThe demo failed; all logs are below {FOLDER}\n\n{error}", file=sys.stderr)
    finally:
        kill_strays()
    return code


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make demo DEMO_ARGS='...'",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"State and logs are in {FOLDER}, which each start empties.",
    )
    parser.add_argument(
        "--once",
        action="store_true",
        help="end after the DAG runs; exit code 0 only if every run succeeded",
    )
    parser.add_argument("--slots", type=int, default=16, help="tasks at a time (default: 16)")
    parser.add_argument(
        "--timeout", type=float, default=300, help="seconds that the DAG runs may take"
    )
    return parser.parse_args()


def run(options: argparse.Namespace, stop_at_end: ExitStack) -> int:
    """The demo from the first process to the table; returns the exit code."""
    zookeeper = ZooKeeperServer(FOLDER / "zookeeper")
    postgres = PostgresServer()
    stop_at_end.callback(zookeeper.stop)
    stop_at_end.callback(postgres.stop)
    with STEPS.step("ZooKeeper and PostgreSQL"):
        zookeeper.start()
        postgres.start()
    say(f"ZooKeeper serves on {zookeeper.hosts}, PostgreSQL on 127.0.0.1:{postgres.port}")

    airflow = AirflowStack(
        FOLDER / "airflow",
        executor=ZK_EXECUTOR,
        database=postgres.create_database("airflow"),
        options=zk_executor_options(zookeeper),
    )
    for example in DEMO:
        airflow.add_dags(example.files)
    airflow.add_dags([ROOT / "tools" / "demo_dags" / f"{OUR_DAG}.py"])
    airflow.add_dags(sorted(EXAMPLES.glob("example_*.py")))
    with STEPS.step("Airflow's tables"):
        airflow.migrate()

    # The port from which the API server fetches the logs of running tasks.
    worker = ZkWorker(
        FOLDER,
        airflow.worker_env,
        name="localhost",
        slots=options.slots,
        http_port=airflow.log_port,
        options=STOP_AT_ONCE,
    )
    # The worker ends first: its tasks can only end well while the API server answers.
    stop_at_end.callback(airflow.stop, 8)
    stop_at_end.callback(worker.stop, 8)
    with STEPS.step("start of Airflow and the worker"):
        airflow.launch()
        worker.start()
        say(f"  worker {worker.name} is ready with {options.slots} slots, http://{worker.http}")
        airflow.wait_healthy()
        say(f"  Airflow is healthy: {airflow.client.base_url}")

    dag_ids = [
        OUR_DAG,
        *TRIGGERED_EXAMPLES,
        *(dag_id for example in DEMO for dag_id in example.triggered),
    ]
    with STEPS.step("import of the DAG files"):
        airflow.wait_dags(dag_ids)
    with STEPS.step("DAG runs"):
        succeeded = run_dags(airflow, worker, dag_ids, options.timeout)
    print("\n" + STEPS.summary() + "\n", flush=True)
    if options.once:
        return 0 if succeeded else 1
    exports = {"AIRFLOW_HOME": str(airflow.home), **zk_executor_options(zookeeper)}
    print(
        "\n"
        + TRY_NEXT.format(
            ui=airflow.client.base_url,
            dags=airflow.dags,
            worker=worker.http,
            worker_log=worker.process.log,
            exports="export " + shlex.join(f"{key}={value}" for key, value in exports.items()),
            airflow=Path(sys.executable).parent / "airflow",
        ),
        flush=True,
    )
    stay_up(airflow, worker, zookeeper)
    return 0


def run_dags(airflow: AirflowStack, worker: ZkWorker, dag_ids: list[str], timeout: float) -> bool:
    """Run all DAGs at once, print progress and the table; whether all went well."""
    client = airflow.client
    started = time.monotonic()
    runs = [(dag_id, client.trigger(dag_id)) for dag_id in dag_ids]
    say(f"triggered {len(runs)} DAG runs")
    told: set[tuple[str, str]] = set()

    def tell(states: dict[tuple[str, str], str]) -> None:
        for run in sorted(states):
            if states[run] in ("success", "failed") and run not in told:
                told.add(run)
                say(f"  [{len(told):2}/{len(runs)}] {states[run]:8} {run[0]}")

    states = client.wait_runs(
        runs, timeout=timeout, needs=[*airflow.children(), worker.process], on_poll=tell
    )
    seconds = time.monotonic() - started
    tasks = client.tasks()
    print("\n" + results(tasks) + "\n")
    bad_tasks = [task for task in tasks if task.state not in GOOD_TASK_STATES]
    bad_runs = [run for run, state in states.items() if state != "success"]
    executed = sum(1 for task in tasks if task.hostname)
    say(
        f"{len(runs) - len(bad_runs)} of {len(runs)} DAG runs succeeded, {executed} task instances"
        f" ran on worker {worker.name}, in {seconds:.1f} s"
    )
    for task in bad_tasks:
        say(f"  not as expected: {task.dag_id}.{task.task_id}[{task.map_index}] is {task.state}")
    return not (bad_tasks or bad_runs) and executed > 0


def results(tasks: list[TaskState]) -> str:
    """The table of task instances."""
    rows = []
    for task in tasks:
        waited = task.queue_seconds
        rows.append(
            (
                task.dag_id,
                task.task_id,
                "" if task.map_index < 0 else task.map_index,
                task.state,
                # Airflow settles empty and skipped tasks in the scheduler.
                task.hostname or "-",
                "-" if waited is None else f"{waited:.2f}",
            )
        )
    return table(("dag", "task", "map", "state", "worker", "queued→running s"), rows)


def stay_up(airflow: AirflowStack, worker: ZkWorker, zookeeper: ZooKeeperServer) -> None:
    """Wait for a signal. Raises DevStackError when one of the processes ends."""
    wait_until(
        lambda: None,
        "Ctrl-C",
        timeout=float("inf"),
        needs=[*airflow.children(), worker.process, zookeeper.process],
        interval=0.5,
    )


def _stop(*_: object) -> None:
    # Once: what follows is the stopping, which must not be interrupted.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print(flush=True)
    say("stopping, which takes some seconds")
    raise Stopped


if __name__ == "__main__":
    sys.exit(main())
