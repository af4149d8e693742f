# SPDX-License-Identifier: Apache-2.0
"""
What runs in the process that the zygote forks for one workload.

It calls Airflow's own ``BaseExecutor.run_workload``, which supervises the task in a process
of its own, and says in one JSON line how that ended.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from zk_executor.worker import processes

INFO_CHARACTERS_MAX = 1500


def outcome_of_exit(code: int | None) -> dict[str, str]:
    """How a workload that ran to an exit code is reported. None means 0, as for callbacks."""
    if not code:
        return {"outcome": "success", "info": ""}
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        hint = ", probably out of memory" if -code == signal.SIGKILL else ""
        return {"outcome": "failed", "info": f"the task process was killed by {name}{hint}"}
    return {"outcome": "failed", "info": f"the task process exited with code {code}"}


def outcome_of_error(error: BaseException) -> dict[str, str]:
    """How an exception out of ``run_workload`` is reported (see the outcomes in launcher.h)."""
    info = f"{type(error).__name__}: {error}"[:INFO_CHARACTERS_MAX]
    if type(error).__name__ == "TaskAlreadyRunningError":
        return {"outcome": "already_running", "info": info}
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if _refused_the_start(error):
        if status in (401, 403):
            return {"outcome": "token", "info": info}
        if status in (404, 409) and _is_airflows_word(response):
            return {"outcome": "stale", "info": info}
    return {"outcome": "failed", "info": info}


def _refused_the_start(error: BaseException) -> bool:
    """Whether the API server's answer was to ``PATCH …/run``: later refusals mean that it ran."""
    request = getattr(error, "request", None) or getattr(
        getattr(error, "response", None), "request", None
    )
    return request is not None and str(request.url).rstrip("/").endswith("/run")


def _is_airflows_word(response: Any) -> bool:
    """Whether Airflow itself refused: a proxy's page is no reason to leave a task queued."""
    if response.headers.get("content-type") != "application/json":
        return False
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return False
    return isinstance(body, dict) and "detail" in body


def run(workload_json: str, server: str) -> dict[str, str]:
    """Run one workload to its end. Blocks; never raises."""
    try:
        from airflow.executors import workloads
        from airflow.executors.base_executor import BaseExecutor
        from pydantic import TypeAdapter

        adapter: TypeAdapter[Any] = TypeAdapter(workloads.ExecutorWorkload)
        workload = adapter.validate_json(workload_json)
    except Exception as error:
        # The message could quote the input, and with it the token.
        return {"outcome": "failed", "info": f"unreadable workload ({type(error).__name__})"}
    try:
        return outcome_of_exit(BaseExecutor.run_workload(workload, server=server))
    except SystemExit as error:
        return outcome_of_exit(error.code if isinstance(error.code, int) else 1)
    except BaseException as error:
        return outcome_of_error(error)


def child_main(workload_json: str, server: str, parent: int, report_fd: int) -> None:
    """
    Be the supervising process: run, report, exit. Never returns.

    The task process, which Airflow forks from this one, is made to die with it: a task
    without a supervisor would run on unseen.
    """
    code = 125
    try:
        processes.die_with_parent(parent)
        supervisor = os.getpid()

        def tie_task_to_supervisor() -> None:
            if os.getppid() == supervisor:
                processes.die_with_parent(supervisor)

        os.register_at_fork(after_in_child=tie_task_to_supervisor)
        report = run(workload_json, server)
        os.write(report_fd, json.dumps(report).encode())
        code = 0
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)
