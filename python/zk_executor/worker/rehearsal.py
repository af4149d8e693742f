# SPDX-License-Identifier: Apache-2.0
"""
Airflow's own way to a parsed DAG file, gone before the first fork: so that its code has looked up
what it looks up once, and is at rest in memory that forks share.

What is parsed is rehearsal_dag.py beside this file; nobody's DAG file, policy or listener runs. A
third of the pages that a task's parse would copy are then as they stay, which is 3 ms of a task's
35. Where something fails it is left out: tasks then do all of it themselves.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

FILE = Path(__file__).with_name("rehearsal_dag.py")
TIMES = 3


def rehearse() -> None:
    """Call in a warm process, with logging set up for a descriptor whose content is dropped."""
    with contextlib.suppress(Exception), _as_before():
        if _has_policies():
            return
        import structlog

        for _ in range(TIMES):
            structlog.get_logger(logger_name="task").info("rehearsal", of="a task")
            _parse()


def _parse() -> None:
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag

    DagBundlesManager()
    BundleDagBag(
        dag_folder=os.fspath(FILE),
        safe_mode=False,
        load_op_links=False,
        bundle_path=FILE.parent,
        bundle_name="rehearsal",
    )


def _has_policies() -> bool:
    """Whether somebody has policies, which Airflow asks about every DAG."""
    from airflow.settings import get_policy_plugin_manager

    return len(get_policy_plugin_manager().get_plugins()) > 1


@contextlib.contextmanager
def _as_before() -> Iterator[None]:
    """What a parse changes in its process is as it was afterwards."""
    path = list(sys.path)
    modules = set(sys.modules)
    # Of an import's deadline, and of a crash: with the handler that Airflow sets for this, native
    # code that crashes does not end but does so again and again.
    handlers = {number: signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGSEGV)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        sys.path[:] = path
        for name in sys.modules.keys() - modules:
            if getattr(sys.modules[name], "__file__", None) == os.fspath(FILE):
                del sys.modules[name]
