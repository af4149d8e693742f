# SPDX-License-Identifier: Apache-2.0
"""What is to be done, and taken away, when the process ends: of the file and of its task."""

import atexit
import os
import tempfile
import weakref

from airflow.sdk import DAG, task
from seen import after, see


class Thing:
    pass


THING = Thing()
FOLDER = tempfile.TemporaryDirectory(prefix="hazards-")
KEPT = []
atexit.register(after, "exit_at_top", "atexit of the file")
weakref.finalize(THING, after, "exit_at_top", "finalize of the file")

with DAG("exit_at_top"):

    @task
    def look(i):
        atexit.register(after, "exit_at_top", "atexit of the task")
        KEPT.append(tempfile.TemporaryDirectory(prefix="hazards-"))
        folders = [FOLDER.name, KEPT[0].name]
        there = all(map(os.path.isdir, folders))
        see("exit_at_top", folders=folders, there=there, first=FOLDER.name)

    look.expand(i=[0, 1])
