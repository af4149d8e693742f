# SPDX-License-Identifier: Apache-2.0
"""A whole Airflow in one folder: API server, scheduler, DAG processor and triggerer.

Threads: main thread only. Errors: DevStackError.
"""

from __future__ import annotations

import base64
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from devstack.client import AirflowClient
from devstack.processes import Child, DevStackError, free_port, wait_until
from devstack.zookeeper import ZooKeeperServer

ZK_EXECUTOR = "ZkExecutor:zk_executor.ZkExecutor"

# Variables of options that README keeps from workers.
NOT_FOR_WORKERS = ("AIRFLOW__API_AUTH__", "AIRFLOW__DATABASE__", "AIRFLOW__CORE__FERNET_KEY")

COMPONENTS = {
    "api-server": ("api-server", "--workers", "1"),
    "scheduler": ("scheduler",),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer",),
}


def zk_executor_options(zookeeper: ZooKeeperServer, root: str = "/zk-executor") -> dict[str, str]:
    """Airflow options, as environment, that bring ZkExecutor, and DAGs, to a ZooKeeper."""
    return {
        "AIRFLOW__ZK_EXECUTOR__HOSTS": zookeeper.hosts,
        "AIRFLOW__ZK_EXECUTOR__ROOT": root,
        "AIRFLOW_CONN_ZOOKEEPER_DEFAULT": f"zookeeper://{zookeeper.hosts}",
    }


class AirflowStack:
    """One Airflow installation, configured by environment variables only.

    home becomes AIRFLOW_HOME; put DAG files into dags before start(). database is the SQLAlchemy
    address of an existing database, SQLite in home if empty. options are further AIRFLOW__...
    variables, which win over ours. Everyone is an admin, no password.
    """

    def __init__(
        self,
        home: Path,
        *,
        executor: str = "LocalExecutor",
        database: str = "",
        options: Mapping[str, str] | None = None,
        parallelism: int = 64,
    ) -> None:
        self.home = home.resolve()
        self.dags = self.home / "dags"
        self.logs = self.home / "stack-logs"
        self.port = free_port()
        self.log_port = free_port()
        self.client = AirflowClient(f"http://127.0.0.1:{self.port}")
        self.env = self._environment(executor, database, parallelism)
        self.env.update(options or {})
        self.components = {
            name: self.command(name, *arguments) for name, arguments in COMPONENTS.items()
        }

    def _environment(self, executor: str, database: str, parallelism: int) -> dict[str, str]:
        outside = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")}
        options = {
            ("core", "executor"): executor,
            ("core", "dags_folder"): self.dags,
            ("core", "plugins_folder"): self.home / "plugins",
            ("core", "load_examples"): False,
            ("core", "parallelism"): parallelism,
            ("core", "max_active_tasks_per_dag"): max(parallelism, 16),
            ("core", "dags_are_paused_at_creation"): False,
            ("core", "fernet_key"): base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            ("core", "simple_auth_manager_all_admins"): True,
            ("core", "execution_api_server_url"): f"http://127.0.0.1:{self.port}/execution/",
            ("database", "sql_alchemy_conn"): database or f"sqlite:///{self.home}/airflow.db",
            # A request holds a connection while it waits for one of the API server's 40 threads.
            # With fewer connections than threads a burst locks it up for 30 seconds.
            ("database", "sql_alchemy_pool_size"): 50,
            ("database", "sql_alchemy_max_overflow"): 30,
            # Without these two each process invents its own, and refuses the others.
            ("api_auth", "jwt_secret"): secrets.token_urlsafe(48),
            ("api", "secret_key"): secrets.token_urlsafe(32),
            ("api", "host"): "127.0.0.1",
            ("api", "port"): self.port,
            ("api", "base_url"): f"http://127.0.0.1:{self.port}",
            ("logging", "base_log_folder"): self.home / "logs",
            ("logging", "worker_log_server_port"): self.log_port,
            ("logging", "trigger_log_server_port"): free_port(),
            # Only runs that we trigger, whatever schedule the example DAGs have.
            ("scheduler", "use_job_schedule"): False,
            ("scheduler", "scheduler_idle_sleep_time"): 0.1,
            ("scheduler", "scheduler_heartbeat_sec"): 1,
            ("scheduler", "max_tis_per_query"): 64,
            ("triggerer", "job_heartbeat_sec"): 1,
            # Look for new files often, into known ones only when they have changed.
            ("dag_processor", "min_file_process_interval"): 3600,
            ("dag_processor", "stale_dag_threshold"): 7200,
            ("dag_processor", "refresh_interval"): 10,
            ("usage_data_collection", "enabled"): False,
        }
        ours = {f"AIRFLOW__{s.upper()}__{o.upper()}": str(v) for (s, o), v in options.items()}
        return {
            **outside,
            "AIRFLOW_HOME": str(self.home),
            "PATH": f"{Path(sys.executable).parent}:{outside.get('PATH', os.defpath)}",
            "PYTHONUNBUFFERED": "1",
            "NO_PROXY": "*",
            **ours,
        }

    @property
    def worker_env(self) -> dict[str, str]:
        """What of env workers need: no signing key, no database, no key for its passwords."""
        kept = {
            name: value for name, value in self.env.items() if not name.startswith(NOT_FOR_WORKERS)
        }
        # Empty wins over what Airflow invents for a new airflow.cfg.
        return {**kept, "AIRFLOW__API_AUTH__JWT_SECRET": ""}

    def command(self, name: str, *arguments: str) -> Child:
        """An airflow command in this environment, not started; its log is <name>.log."""
        return Child(
            name,
            [Path(sys.executable).parent / "airflow", *arguments],
            log=self.logs / f"{name}.log",
            env=self.env,
            cwd=self.home,
        )

    def run(self, name: str, *arguments: str, timeout: float = 180) -> str:
        """Run an airflow command to its end and return its output."""
        child = self.command(name, *arguments)
        child.log.unlink(missing_ok=True)
        child.start()
        code = child.wait(timeout)
        if code:
            raise DevStackError(f"airflow {' '.join(arguments)} ended with {code}\n{child.tail()}")
        return child.log.read_text(errors="replace")

    def add_dags(self, files: Iterable[Path]) -> None:
        """Copy DAG files (or folders that those refer to) into the DAG folder."""
        self.dags.mkdir(parents=True, exist_ok=True)
        for file in files:
            if file.is_dir():
                shutil.copytree(file, self.dags / file.name, dirs_exist_ok=True)
            else:
                shutil.copy(file, self.dags / file.name)

    def migrate(self) -> None:
        """Create Airflow's tables."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.run("db-migrate", "db", "migrate")

    def launch(self) -> None:
        """Start every component that does not run, and wait for nothing."""
        self.dags.mkdir(parents=True, exist_ok=True)
        for child in self.components.values():
            if not child.alive():
                child.start()

    def wait_healthy(self, timeout: float = 120) -> None:
        """Wait until the API server answers and says that all components are healthy."""
        parts = ("metadatabase", "scheduler", "triggerer", "dag_processor")
        last: dict[str, str] = {}

        def healthy() -> bool:
            last.clear()
            last.update(self.client.health())
            return all(last.get(part) == "healthy" for part in parts)

        wait_until(
            healthy,
            f"Airflow in {self.home}",
            timeout=timeout,
            needs=self.children(),
            interval=0.2,
            describe=lambda: f"last answer: {last}",
        )

    def wait_dags(self, dag_ids: Iterable[str], timeout: float = 120) -> None:
        """Wait until all these DAGs have been parsed; a file that can't be ends the wait at once.

        The error's last lines are that file and what Airflow says of it.
        """
        wanted = set(dag_ids)
        missing: set[str] = set()

        def parsed() -> bool:
            missing.clear()
            missing.update(wanted - self.client.dag_ids())
            errors = self.client.import_errors() if missing else {}
            if errors:
                raise DevStackError(
                    "\n".join(
                        f"a DAG file can't be imported: {file}\n{trace.rstrip()}"
                        for file, trace in sorted(errors.items())
                    )
                )
            return not missing

        wait_until(
            parsed,
            f"{len(wanted)} DAGs to be parsed",
            timeout=timeout,
            needs=self.children(),
            interval=0.5,
            describe=lambda: f"missing: {sorted(missing)}",
        )

    def start(self) -> None:
        """launch() and wait_healthy(); the database must have been migrated."""
        self.launch()
        self.wait_healthy()

    def children(self) -> list[Child]:
        """The processes without which nothing goes on."""
        return list(self.components.values())

    def stop(self, timeout: float = 20) -> None:
        """SIGTERM to all, after timeout seconds SIGKILL to what is left of them and below them."""
        deadline = time.monotonic() + timeout
        api_server = self.components["api-server"]
        others = [child for child in self.components.values() if child is not api_server]
        for child in others:
            child.ask_to_end()
        for child in others:
            child.stop(max(0.0, deadline - time.monotonic()))
        # Last, because the others finish their work through it.
        api_server.stop(max(1.0, deadline - time.monotonic()))

    def __enter__(self) -> AirflowStack:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
