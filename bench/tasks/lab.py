# SPDX-License-Identifier: Apache-2.0
"""The servers of the benchmark: PostgreSQL, ZooKeeper, Redis, Airflow, and one worker at a time.

Threads: main thread only. Errors: DevStackError.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from devstack import (
    AirflowStack,
    Child,
    DevStackError,
    PostgresServer,
    ZkWorker,
    ZooKeeperServer,
    wait_until,
    zk_executor_options,
)
from dispatch.celery_redis import redis_server
from tasks import usage
from tasks.configurations import Configuration
from tasks.logs import Hold, celery_holds, our_holds

DAGS = Path(__file__).resolve().parent / "dags"


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    chain: int = 20
    fan: int = 200
    few: int = 16  # waiting tasks, and the slots of a worker
    some: int = 64
    many: int = 500
    repeats: int = 3
    settle_s: float = 8

    @classmethod
    def quick(cls) -> Sizes:
        return cls(chain=3, fan=8, few=2, some=4, many=12, repeats=1, settle_s=2)


@dataclass
class Worker:
    """A running worker. pid is the process that was started; the others are below it."""

    pid: int
    child: Child
    slots: int
    holds: Callable[[], dict[str, Hold]]
    http: str = ""

    def memory(self) -> usage.Memory:
        return usage.memory(usage.family(self.pid))

    def cpu_seconds(self) -> float:
        return usage.cpu_seconds(usage.family(self.pid))

    def page_faults(self) -> int:
        return usage.page_faults(usage.family(self.pid))


@dataclass
class Lab:
    """What the measurements share."""

    folder: Path
    postgres: PostgresServer
    zookeeper: ZooKeeperServer
    sizes: Sizes
    pandas: bool
    counter: int = field(default=0, repr=False)

    def say(self, text: str) -> None:
        """Progress, for people."""
        print(f"bench: {text}", file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def airflow(self, *, celery: bool) -> Iterator[Airflow]:
        """A whole Airflow on a database of its own, with the DAGs, for one of the executors."""
        self.counter += 1
        name = f"{'celery' if celery else 'ours'}_{self.counter}"
        home = self.folder / name
        marks = home / "marks"
        marks.mkdir(parents=True)
        os.mkfifo(marks / "gate")
        sizes = self.sizes
        options = {
            "BENCH_MARKS": str(marks),
            "BENCH_CHAIN": str(sizes.chain),
            "BENCH_FAN": str(sizes.fan),
            "BENCH_WAITING": f"{sizes.few},{sizes.some},{sizes.many}",
        }
        with contextlib.ExitStack() as stack:
            if celery:
                address = stack.enter_context(redis_server(self.folder))
                options["AIRFLOW__CELERY__BROKER_URL"] = f"redis://{address}/0"
            else:
                options |= zk_executor_options(self.zookeeper, f"/{name.replace('_', '-')}")
            database = self.postgres.create_database(f"airflow_{name}")
            airflow = AirflowStack(
                home,
                executor="CeleryExecutor" if celery else "ZkExecutor",
                database=database,
                parallelism=sizes.many + 64,
                options=options,
            )
            files = [file for file in DAGS.glob("*.py") if self.pandas or "pandas" not in file.name]
            airflow.add_dags(files)
            stack.callback(airflow.stop)
            airflow.migrate()
            # Larger than any flow: pools are none of our business here.
            self.postgres.execute("UPDATE slot_pool SET slots = 5000", database=f"airflow_{name}")
            airflow.start()
            wanted = ["chain", "fan"] + (["chain_pandas", "fan_pandas"] if self.pandas else [])
            airflow.wait_dags(wanted)
            yield Airflow(airflow, self, f"airflow_{name}", marks)


@dataclass
class Airflow:
    """An Airflow that runs."""

    stack: AirflowStack
    lab: Lab
    database: str
    marks: Path

    def query(self, statement: str, *arguments: object) -> list[tuple]:
        return self.lab.postgres.execute(statement, arguments, database=self.database)

    def component_cpu_seconds(self, name: str) -> float:
        """CPU time of the API server, the scheduler, …"""
        return usage.cpu_seconds(usage.family(self.stack.components[name].pid))

    @contextlib.contextmanager
    def worker(self, configuration: Configuration, slots: int) -> Iterator[Worker]:
        """A worker that is ready; drained and stopped afterwards."""
        self.lab.counter += 1
        name = f"{configuration.name}-{self.lab.counter}"
        start = self._celery if configuration.celery else self._ours
        with start(configuration, name, slots) as worker:
            yield worker

    @contextlib.contextmanager
    def _ours(self, configuration: Configuration, name: str, slots: int) -> Iterator[Worker]:
        worker = ZkWorker(
            self.stack.home,
            self.stack.env | dict(configuration.options),
            name=name,
            slots=slots,
            http_port=self.stack.log_port,
        )
        try:
            worker.start()
            log = worker.process.log
            yield Worker(
                worker.process.pid,
                worker.process,
                slots,
                lambda: our_holds(log.read_text(errors="replace").splitlines()),
                f"http://{worker.http}",
            )
        finally:
            worker.stop()

    @contextlib.contextmanager
    def _celery(self, configuration: Configuration, name: str, slots: int) -> Iterator[Worker]:
        child = self.stack.command(
            name, "celery", "worker", "--queues", "default", "--concurrency", str(slots)
        )
        try:
            child.start()
            wait_until(
                lambda: " ready." in child.log.read_text(errors="replace"),
                "the Celery worker",
                timeout=120,
                needs=[child],
                interval=0.2,
            )
            yield Worker(
                child.pid,
                child,
                slots,
                lambda: celery_holds(child.log.read_text(errors="replace").splitlines()),
            )
        finally:
            child.stop(30)

    def trigger(self, dag_id: str) -> str:
        return self.stack.client.trigger(dag_id)

    def run_state(self, dag_id: str, run_id: str) -> str:
        """From the database, so that asking costs the API server nothing."""
        rows = self.query(
            "SELECT state FROM dag_run WHERE dag_id = %s AND run_id = %s", dag_id, run_id
        )
        return str(rows[0][0]) if rows else ""

    def wait_run(self, worker: Worker, dag_id: str, run_id: str, timeout: float = 600) -> None:
        """Wait until the run has succeeded. Raises DevStackError if it fails."""
        state = wait_until(
            lambda: (
                found
                if (found := self.run_state(dag_id, run_id)) in ("success", "failed")
                else None
            ),
            f"{dag_id} {run_id} to end",
            timeout=timeout,
            needs=[*self.stack.children(), worker.child],
            interval=0.2,
        )
        if state != "success":
            raise DevStackError(f"{dag_id} {run_id} has failed\n{worker.child.tail()}")

    def lines(self, name: str, run_id: str) -> list[str]:
        """What tasks of a run wrote into a file of marks."""
        try:
            lines = (self.marks / name).read_text().splitlines()
        except FileNotFoundError:
            return []
        return [line for line in lines if line.split("\t")[1] == run_id]

    @contextlib.contextmanager
    def tasks_waiting(self, worker: Worker, count: int, timeout: float = 300) -> Iterator[str]:
        """So many tasks that do nothing, all running at once; afterwards they end. The run id."""
        dag_id = f"waiting_{count}"
        run_id = self.trigger(dag_id)
        wait_until(
            lambda: len(self.lines("waiting", run_id)) >= count,
            f"{count} tasks to run at once",
            timeout=timeout,
            needs=[*self.stack.children(), worker.child],
            interval=0.5,
            describe=lambda: f"running: {len(self.lines('waiting', run_id))}",
        )
        yield run_id
        deadline = time.monotonic() + timeout
        while self.run_state(dag_id, run_id) not in ("success", "failed"):
            if time.monotonic() > deadline or not worker.child.alive():
                raise DevStackError(f"{dag_id} does not end\n{worker.child.tail()}")
            self.open_gate()
            time.sleep(0.3)

    def open_gate(self) -> None:
        """Let those go on that wait now."""
        with contextlib.suppress(OSError):  # nobody waits
            gate = os.open(self.marks / "gate", os.O_WRONLY | os.O_NONBLOCK)
            time.sleep(0.1)
            os.close(gate)
