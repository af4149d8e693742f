# SPDX-License-Identifier: Apache-2.0
"""The sides that are compared, and the program that runs a side's cases.

Threads: a side is run by one thread; its reader and the API server have theirs.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from answers import default_answers
from api_server import ApiServer, Request, Script
from case import Case, Outcome

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PROGRAM = ROOT / ".build" / "asan" / "tests" / "zkexec_supervise"
AT_ONCE = 6
# Long enough for a loaded machine; nothing waits for it unless something is wrong.
CASE_TIMEOUT_S = 60.0
KILL_TIMEOUT_S = 20.0
HUNG = {"outcome": "hung", "info": f"no end within {CASE_TIMEOUT_S:g} s"}

AIRFLOW = {"SUPERVISOR": "airflow", "WARM": "off"}
NATIVE = {"SUPERVISOR": "native", "WARM": "off"}
WARM = {"SUPERVISOR": "native", "WARM": "imports"}
SIDES: Mapping[str, Mapping[str, str]] = {
    "airflow": AIRFLOW,
    "airflow-again": AIRFLOW,
    "native": NATIVE,
    "warm": WARM,
}


def environment(folder: Path, url: str, side: Mapping[str, str]) -> dict[str, str]:
    """Airflow in a folder of its own, with everything that one may wait for made short."""
    options = {
        "CORE__DAGS_FOLDER": HERE / "dags",
        "CORE__LOAD_EXAMPLES": False,
        "CORE__EXECUTION_API_SERVER_URL": url,
        "CORE__TASK_SUCCESS_OVERTIME": 2,
        "CORE__KILLED_TASK_CLEANUP_TIME": 2,
        "LOGGING__BASE_LOG_FOLDER": folder / "logs",
        "WORKERS__MIN_HEARTBEAT_INTERVAL": 1,
        "WORKERS__MAX_FAILED_HEARTBEATS": 2,
        "WORKERS__SOCKET_CLEANUP_TIMEOUT": 3,
        "WORKERS__EXECUTION_API_RETRIES": 3,
        "WORKERS__EXECUTION_API_RETRY_WAIT_MIN": 0.01,
        "WORKERS__EXECUTION_API_RETRY_WAIT_MAX": 0.05,
        "WORKERS__EXECUTION_API_TIMEOUT": 4,
        "WORKERS__MISSING_DAG_RETRIES": 1,
        "WORKERS__MISSING_DAG_RETRY_DELAY": 1,
        "ZK_EXECUTOR__HOSTS": "localhost:1",
        "ZK_EXECUTOR__ENCRYPTION_KEY": "an encryption key for tests",
        "ZK_EXECUTOR__PRELOAD": "airflow.providers.standard.triggers.temporal",
        "ZK_EXECUTOR__WORKER_HOST": "conformance.example.org",
        **{f"ZK_EXECUTOR__{name}": value for name, value in side.items()},
    }
    outside = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AIRFLOW", "SSL_CERT_")) and not name.lower().endswith("_proxy")
    }
    return {
        **outside,
        "AIRFLOW_HOME": str(folder),
        "CONFORMANCE_FOLDER": str(folder),
        "PYTHONHASHSEED": "0",  # Airflow sends sets as lists
        **{f"AIRFLOW__{name}": str(value) for name, value in options.items()},
    }


@dataclass
class _Run:
    """A case under way."""

    case: Case
    deadline: float
    killed: bool = False


class Side:
    """Runs cases on one side; keeps what came of them."""

    def __init__(self, name: str, folder: Path, *, program: Path = PROGRAM) -> None:
        self.name = name
        self.folder = folder / name
        self.outcomes: dict[str, Outcome] = {}
        self.failure = ""  # why there are not all, if run() was not to its end
        self._program = program
        self._reports: queue.Queue[dict[str, str]] = queue.Queue()
        self._write_lock = threading.Lock()
        for part in ("plans", "answers", "logs"):
            (self.folder / part).mkdir(parents=True)

    @property
    def errors(self) -> Path:
        """What the program, the zygote and Airflow's supervisors said."""
        return self.folder / "stderr.log"

    def run(self, cases: Iterable[Case]) -> None:
        """
        Run them all, some at a time. What does not end in time is killed, and has "hung".

        Raises RuntimeError if the program ends early or badly; the outcomes until then are there.
        """
        waiting = list(cases)
        with ApiServer() as api, self._started(api.url) as process:
            self._process = process
            running: dict[str, _Run] = {}
            while waiting or running:
                while waiting and len(running) < AT_ONCE:
                    case = waiting.pop(0)
                    running[case.id] = _Run(case, time.monotonic() + CASE_TIMEOUT_S)
                    self._start(case, api)
                report = self._next_report(min(run.deadline for run in running.values()))
                if report is None:
                    self._give_up_late(running, api)
                elif run := running.pop(report["id"], None):
                    told = HUNG if run.killed else report
                    self.outcomes[run.case.name] = self._outcome(run.case, told, api)
            process.stdin.close()
            code = process.wait(30)
            if code:
                raise RuntimeError(f"{self.name}: the program ended with {code}\n{self._tail()}")
            if api.strangers:
                raise RuntimeError(f"{self.name}: requests without a token: {api.strangers}")

    def _give_up_late(self, running: dict[str, _Run], api: ApiServer) -> None:
        now = time.monotonic()
        for run in [run for run in running.values() if run.deadline <= now]:
            if run.killed:
                del running[run.case.id]
                self.outcomes[run.case.name] = self._outcome(run.case, HUNG, api)
            else:
                run.killed = True
                run.deadline = now + KILL_TIMEOUT_S
                self._say({"kill": run.case.id, "signal": "kill"})

    @contextlib.contextmanager
    def _started(self, url: str):
        with self.errors.open("wb") as errors:
            process = subprocess.Popen(
                [self._program, sys.executable],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment(self.folder, url, SIDES[self.name]),
                cwd=self.folder,
            )
        reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        reader.start()
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            reader.join()
            for stream in (process.stdin, process.stdout):
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        for line in process.stdout:
            self._reports.put(json.loads(line))
        self._reports.put({})

    def _say(self, line: Mapping[str, str]) -> None:
        with self._write_lock:
            self._process.stdin.write(json.dumps(line).encode() + b"\n")
            self._process.stdin.flush()

    def _start(self, case: Case, api: ApiServer) -> None:
        def on_request(request: Request) -> None:
            if case.kill is not None and request.route == case.kill.route:
                self._say({"kill": case.id, "signal": case.kill.signal})

        refresh = f"{case.name}.1" if case.refresh else ""
        default = default_answers(case.context, refresh=refresh)
        api.scripts[case.name] = Script(case.rules, default, on_request)
        if case.plan:
            (self.folder / "plans" / f"{case.id}.json").write_text(json.dumps(case.plan))
        self._say({"id": case.id, "workload": case.workload()})

    def _next_report(self, deadline: float) -> dict[str, str] | None:
        try:
            report = self._reports.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            return None
        if "id" not in report:
            raise RuntimeError(f"{self.name}: the program ended early\n{self._tail()}")
        return report

    def _outcome(self, case: Case, report: Mapping[str, str], api: ApiServer) -> Outcome:
        log = self.folder / "logs" / case.log_path
        answers = self.folder / "answers" / f"{case.id}.jsonl"
        modes = [stat.filemode(path.stat().st_mode) for path in (log, log.parent) if path.exists()]
        return Outcome(
            report={key: report[key] for key in ("outcome", "info")},
            requests=tuple(api.scripts[case.name].requests),
            log=log.read_bytes() if log.exists() else None,
            log_modes=tuple(modes),
            answers=tuple(answers.read_text().splitlines()) if answers.exists() else (),
            served=tuple(map(tuple, api.scripts[case.name].served)),
        )

    def _tail(self) -> str:
        lines = self.errors.read_text(errors="replace").splitlines()
        return "\n".join([f"--- last lines of {self.errors}", *lines[-40:]])
