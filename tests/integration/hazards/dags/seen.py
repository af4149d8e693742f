# SPDX-License-Identifier: Apache-2.0
"""How the DAG files of this folder tell the test what they see: a line of JSON each."""

import json
import os


def see(hazard, **values):
    """What a task sees."""
    with open(f"/proc/{os.getppid()}/cmdline", "rb") as file:
        parent = file.read().replace(b"\0", b" ").decode().strip()
    _write({"hazard": hazard, "pid": os.getpid(), "parent": parent, "values": values})


def after(hazard, what):
    """What is done when a process ends; also that of the DAG processor."""
    _write({"hazard": hazard, "pid": os.getpid(), "after": what})


def armed(hazard):
    """Whether the test wants the file to do what nobody can parse."""
    return os.path.exists(os.path.join(os.environ["AIRFLOW_HOME"], "armed", hazard))


def data(name):
    """The path of a file that the test made."""
    return os.path.join(os.environ["AIRFLOW_HOME"], "data", name)


def _write(line):
    path = os.path.join(os.environ["AIRFLOW_HOME"], "seen.jsonl")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.write(fd, json.dumps(line).encode() + b"\n")
    os.close(fd)
