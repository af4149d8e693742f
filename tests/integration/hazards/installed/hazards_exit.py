# SPDX-License-Identifier: Apache-2.0
"""Registers something to be done at exit when it is imported. Takes a moment to import."""

import atexit
import json
import os

import pandas

LOADED = pandas.__name__


def _say():
    path = os.path.join(os.environ["AIRFLOW_HOME"], "seen.jsonl")
    line = {"hazard": "exit_of_installed", "pid": os.getpid(), "after": "atexit of the package"}
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.write(fd, json.dumps(line).encode() + b"\n")
    os.close(fd)


atexit.register(_say)
