# SPDX-License-Identifier: Apache-2.0
"""A forked task draws numbers of its own, and remembers no folder of DAGs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from zk_executor.worker import task_start
from zk_executor.worker.installed import Installed

DRAW = """
import os, sys
import numpy
from zk_executor.worker import task_start
numpy.random.seed(1)
for number in range(3):
    if os.fork() == 0:
        task_start.make_fresh()
        print(numpy.random.randint(10**9), flush=True)
        os._exit(0)
    os.wait()
"""


def test_forks_draw_different_numbers_of_numpy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", DRAW], stdout=subprocess.PIPE, check=True, text=True
    )
    drawn = done.stdout.split()
    assert len(set(drawn)) == 3


def test_without_numpy_nothing_is_imported() -> None:
    code = (
        "import sys\nfrom zk_executor.worker import task_start\ntask_start.make_fresh()\n"
        "raise SystemExit('numpy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_folders_of_dags_held_is_forgotten(tmp_path: Path) -> None:
    ours, installed = str(tmp_path), os.path.dirname(os.__file__)
    sys.path_importer_cache[ours] = sys.path_hooks[-1](ours)
    sys.path_importer_cache.setdefault(installed, sys.path_hooks[-1](installed))
    task_start.forget_folders(Installed([]))
    assert ours not in sys.path_importer_cache
    assert installed in sys.path_importer_cache


FINALIZE = """
import atexit, os, tempfile, weakref
from zk_executor.worker import task_start
class Thing: pass
thing = Thing()
weakref.finalize(thing, print, "of the parent")
if os.fork() == 0:
    atexit._clear()  # as Airflow's task
    task_start.make_fresh()
    weakref.finalize(thing, print, "of the task", flush=True)
    folder = tempfile.TemporaryDirectory()
    print(folder.name, flush=True)
    atexit._run_exitfuncs()
    os._exit(0)
os.wait()
os._exit(0)
"""


def test_finalizers_of_a_task_run_at_its_exit_and_those_of_its_parent_do_not() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FINALIZE], stdout=subprocess.PIPE, check=True, text=True
    )
    folder, *others = done.stdout.splitlines()
    assert others == ["of the task"]
    assert not os.path.exists(folder)
