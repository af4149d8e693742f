# SPDX-License-Identifier: Apache-2.0
"""
One launcher with DAG files of the test's own: for tests of what our supervisor does alone.

Threads: the test's; a reader of the program's output is inside.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import ssl
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from answers import default_answers
from api_server import ApiServer, Script
from sides import PROGRAM, environment

END_TIMEOUT_S = 60.0


class Ended:
    """How one run ended, and what its log says."""

    def __init__(self, report: Mapping[str, str], log: Path) -> None:
        self.outcome = report["outcome"]
        self.info = report["info"]
        self.path = log

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    @property
    def events(self) -> list[str]:
        return [line["event"] for line in self.log]


class Supervised:
    """Owns the program and the API server. Use as a context.

    Options are those of section [zk_executor], or whole names AIRFLOW__... Other variables of the
    environment are in ``variables``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        tls: ssl.SSLContext | None = None,
        variables: Mapping[str, str] | None = None,
        **options: object,
    ) -> None:
        self.dags = folder / "dags"
        self.dags.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._options = options
        self._tls = tls
        self._variables = dict(variables or {})
        self._reports: queue.Queue[dict[str, str]] = queue.Queue()
        self._ended: dict[str, Ended] = {}
        self._numbers = 0
        self._served_before = False

    @contextlib.contextmanager
    def serving(self) -> Iterator[ApiServer]:
        """The API server alone, before the program that is started by the context of this."""
        with ApiServer(self._tls) as self.api:
            self._served_before = True
            yield self.api

    def set_variables(self, variables: Mapping[str, str]) -> None:
        """For the program, which is not started yet."""
        self._variables.update(variables)

    def __enter__(self) -> Supervised:
        if not self._served_before:
            self.api = ApiServer(self._tls).__enter__()
        whole = {k: str(v) for k, v in self._options.items() if k.startswith("AIRFLOW__")}
        own = {k: v for k, v in self._options.items() if k not in whole}
        env = environment(self.folder, self.api.url, {"SUPERVISOR": "native", **own})
        env["AIRFLOW__CORE__DAGS_FOLDER"] = str(self.dags)
        env.update(whole)
        env.update(self._variables)
        self._errors = (self.folder / "stderr.log").open("ab")
        self.process = subprocess.Popen(
            [os.environ.get("ZKEXEC_SUPERVISE", PROGRAM), sys.executable],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=env,
            cwd=self.folder,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        self.process.stdout.close()
        self._errors.close()
        if not self._served_before:
            self.api.__exit__()

    def _read(self) -> None:
        for line in self.process.stdout:
            self._reports.put(json.loads(line))
        self._reports.put({})

    def start(self, task: str, file: str = "dag.py", *, rules: tuple = (), **change: Any) -> str:
        """Start a task of DAG ``d``; return the id of the run."""
        self._numbers += 1
        name = f"run-{self._numbers}"
        self.api.scripts[name] = Script(rules, default_answers({}, refresh=""), lambda _: None)
        workload = {
            "type": "ExecuteTask",
            "token": f"{name}.0",
            "dag_rel_path": file,
            "bundle_info": {"name": "dags-folder", "version": None},
            "log_path": f"{name}.log",
            "sentry_integration": "",
            "ti": {
                "id": str(uuid.uuid4()),
                "task_id": task,
                "dag_id": "d",
                "run_id": "run",
                "try_number": 1,
                "dag_version_id": str(uuid.uuid4()),
                "map_index": -1,
                "queue": "default",
                "pool_slots": 1,
                "priority_weight": 1,
            },
            **change,
        }
        self.say({"id": name, "workload": json.dumps(workload)})
        return name

    def say(self, line: Mapping[str, str]) -> None:
        self.process.stdin.write(json.dumps(line).encode() + b"\n")
        self.process.stdin.flush()

    def end_of(self, name: str) -> Ended:
        """Wait for the end of a run."""
        while name not in self._ended:
            report = self._reports.get(timeout=END_TIMEOUT_S)
            if not report:
                raise AssertionError("the program ended:\n" + self.said()[-3000:])
            log = self.folder / "logs" / f"{report['id']}.log"
            self._ended[report["id"]] = Ended(report, log)
        return self._ended[name]

    def run(self, task: str, file: str = "dag.py", **how: Any) -> Ended:
        return self.end_of(self.start(task, file, **how))

    def wait_for_event(self, name: str, event: str) -> None:
        """Until the run's log has it."""
        log = self.folder / "logs" / f"{name}.log"
        _wait_until(lambda: log.exists() and f'"event":"{event}"' in log.read_text(), event)

    def requests(self, name: str) -> list[Any]:
        return self.api.scripts[name].requests

    def said(self) -> str:
        return (self.folder / "stderr.log").read_text(errors="replace")

    def pid_of(self, process: str) -> int:
        """The first "zygote" or "warm process" that is ready. Waits for it."""
        ready = re.compile(rf"{process} ready pid=(\d+)")
        _wait_until(lambda: ready.search(self.said()), f"{process} to be ready")
        return int(ready.search(self.said())[1])

    def supervised_by(self) -> list[str]:
        """Who supervised each task, and for what reason not the worker, in their order."""
        return [
            line.removeprefix("supervised by=")
            for line in self.said().splitlines()
            if line.startswith("supervised by=")
        ]

    def forked_from(self) -> list[str]:
        """From what each native task was forked, in their order."""
        return [
            line.removeprefix("forked from=")
            for line in self.said().splitlines()
            if line.startswith("forked from=")
        ]


def _wait_until(condition: Any, what: str) -> None:
    from devstack import wait_until  # noqa: PLC0415

    wait_until(condition, what, timeout=END_TIMEOUT_S)
