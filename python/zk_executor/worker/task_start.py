# SPDX-License-Identifier: Apache-2.0
"""
What a task needs that was forked from a process with modules imported: to be as if it had
imported them itself.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
import weakref
from typing import Any

from zk_executor.worker import exit_handlers, tracing
from zk_executor.worker.installed import Installed

_hooks: list[Any] = []
_warning_filters: list[Any] = []


def make_fresh() -> None:
    """
    Call in the task's process, after Airflow has prepared it and before anything of its runs.

    Python's ``random``, ``uuid`` and ``tempfile`` know of forks; other generators of random
    numbers would give every task the same.
    """
    _let_go_of_finalizers()
    exit_handlers.register_again()
    if _hooks:
        sys.excepthook = _hooks[-1]
    tracing.start()
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:
        with contextlib.suppress(Exception):
            numpy.seed()
    torch = sys.modules.get("torch")
    if torch is not None:
        with contextlib.suppress(Exception):
            torch.seed()


def _let_go_of_finalizers() -> None:
    """
    What is to be taken away at exit is so if the task made it, and is not if its parents did.

    The first finalizer of a process registers all of them for its exit. Airflow's task has
    forgotten that, so without this no temporary folder of a task would ever be removed.
    """
    finalize: Any = weakref.finalize
    for one in list(finalize._registry):
        one.atexit = False
    finalize._registered_with_atexit = False


def keep_exception_hook() -> None:
    """
    Call before the first fork, when Airflow's logging is set up: what it made tell of exceptions
    that nobody catches. Airflow's task takes its parent's away before it sets up its own.
    """
    _hooks.append(sys.excepthook)


def keep_warning_filters() -> None:
    """Call before modules are imported ahead, which may have filters of their own."""
    _warning_filters[:] = [list(warnings.filters)]


def end_parse() -> None:
    """
    Call in a task when its file is parsed: filters of warnings that imports made are then gone, as
    Airflow restores after a parse what it found before it.
    """
    if _warning_filters:
        warnings.filters[:] = _warning_filters[0]  # type: ignore[index]
        with contextlib.suppress(AttributeError):
            warnings._filters_mutated()  # type: ignore[attr-defined]


def forget_folders(installed: Installed) -> None:
    """
    Call before the first fork: what folders of DAGs held is not to be remembered.

    Importlib looks at a folder again only if its time of change is another, and clocks of file
    systems have steps.
    """
    for path in list(sys.path_importer_cache):
        if not installed.holds(os.fspath(path)):
            del sys.path_importer_cache[path]
