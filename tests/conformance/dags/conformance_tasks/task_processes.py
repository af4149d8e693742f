# SPDX-License-Identifier: Apache-2.0
"""Tasks that have processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from airflow.sdk import Variable
from airflow.sdk.execution_time import task_runner

RECONNECT = """
import logging, os, sys
from airflow.sdk import Variable
from airflow.sdk.execution_time import task_runner
task_runner.reinit_supervisor_comms()
log = logging.getLogger("resent.child")
log.info("from the child")
print("variable", Variable.get("from_child"))
log.warning("the child ends")
"""


def child_reconnects() -> None:
    """As the operators for virtual environments do: a new interpreter on the same channel."""
    os.set_inheritable(task_runner.SUPERVISOR_COMMS.socket.fileno(), True)
    print("before", Variable.get("before"), flush=True)
    subprocess.run([sys.executable, "-c", RECONNECT], check=True)
    print("after", Variable.get("after"))


def child_writes() -> None:
    subprocess.run(["sh", "-c", "echo out; echo err >&2; printf unterminated"], check=True)


def child_outlives_task() -> None:
    """A daemon that holds stdout and stderr when the task is long gone."""
    subprocess.Popen(["sleep", "60"], start_new_session=True)
    print("the task ends")


def child_writes_late(ti: Any) -> None:
    """A process that is not the task's child any more writes after the task has ended."""
    wait = f"while kill -0 {os.getpid()} 2>/dev/null; do :; done; echo late"
    subprocess.Popen(["sh", "-c", wait], start_new_session=True)
    print("the task ends")


def forked_children() -> None:
    """A fork shares the channel; the parent waits for it."""
    for number in range(3):
        pid = os.fork()
        if pid == 0:
            print("fork", Variable.get(f"fork_{number}"), flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
    print("parent", Variable.get("parent"))
