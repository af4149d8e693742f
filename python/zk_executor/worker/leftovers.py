# SPDX-License-Identifier: Apache-2.0
"""
What an import left behind in a process, beside modules, that forks of the process would share.

Airflow's task imports its modules itself. So whatever an import makes that a fork does not get
(threads), gets shared (connections, temporary folders) or gets in a state that the start of a task
then resets (signal handlers) may not be made ahead of the task.

Linux only; one thread, for as long as it is used.
"""

from __future__ import annotations

import contextlib
import locale
import logging
import os
import signal
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

# The exceptions: libraries whose threads may be there when a process is forked. Each by a part of
# the name of its file, as it is mapped; test_leftovers.py shows a fork of each to be safe.
#
# Threads that end before a fork, by a handler of their own, and come again when they are needed.
ENDING_THREADS = ("libscipy_openblas", "libopenblas")
# Threads by name that a fork goes on without. What they do, give memory back, jemalloc then does
# in the thread that frees.
DISPENSABLE_THREADS = {"jemalloc_bg_thd": "libarrow"}

# A thread that Python has joined is there a moment longer.
_LOOKS_FOR_THREADS = 10
_LOOK_INTERVAL_S = 0.005

_SIGNALS = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


class State:
    """A process at one moment, as far as imports should leave it alone."""

    def __init__(self) -> None:
        self.descriptors = {fd: _what_is(fd) for fd in _numbers("/proc/self/fd")}
        self.threads = _numbers("/proc/self/task")
        self.children = _children()
        self.plain = {
            "signals": [signal.getsignal(number) for number in _SIGNALS],
            "signal mask": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
            "alarm": signal.getitimer(signal.ITIMER_REAL),
            "locale": locale.setlocale(locale.LC_ALL),
            "working directory": _working_directory(),
            "umask": _umask(),
            "exception hook": (sys.excepthook, threading.excepthook, sys.unraisablehook),
            "standard streams": (id(sys.stdin), id(sys.stdout), id(sys.stderr)),
            "trace function": (sys.gettrace(), sys.getprofile()),
            "logging": (id(logging.getLoggerClass()), id(logging.getLogRecordFactory())),
        }
        # What runs at exit to take away what was made at the import.
        self.finalizers = len(weakref.finalize._registry)  # type: ignore[attr-defined]
        # Not imported here: its own handler would then be in no task, as tasks forget what was
        # registered before they were forked.
        processes = sys.modules.get("multiprocessing.util")
        self.finalizers += len(getattr(processes, "_finalizer_registry", ()))

    def since(self, before: State) -> tuple[str, str]:
        """Return what came between, as a fixed word and its detail; ``("", "")`` if nothing."""
        if new := self.children - before.children:
            return "children", f"processes {sorted(new)}"
        if len(self.threads) > len(before.threads) and (names := _threads_that_stay()):
            return "threads", ", ".join(names)
        known = before.descriptors
        changed = [what for fd, what in self.descriptors.items() if known.get(fd) != what]
        if changed:
            return "descriptors", ", ".join(filter(None, changed))
        if self.finalizers > before.finalizers:
            return "finalizers", "something is to be taken away at exit"
        for name, value in self.plain.items():
            if value != before.plain[name]:
                return "state", name
        return "", ""


@contextlib.contextmanager
def made_files() -> Iterator[list[str]]:
    """List the temporary files and the folders that Python code makes within."""
    made: list[str] = []
    inner: Any = tempfile._mkstemp_inner  # type: ignore[attr-defined]
    mkdir = os.mkdir

    def noting_mkstemp(*args: Any, **kwargs: Any) -> Any:
        found = inner(*args, **kwargs)
        made.append(str(found[1]))
        return found

    def noting_mkdir(path: Any, *args: Any, **kwargs: Any) -> None:
        mkdir(path, *args, **kwargs)
        if os.path.basename(os.fspath(path)) not in ("__pycache__", b"__pycache__"):
            made.append(os.fsdecode(path))

    tempfile._mkstemp_inner = noting_mkstemp  # type: ignore[attr-defined]
    os.mkdir = noting_mkdir  # type: ignore[assignment]
    try:
        yield made
    finally:
        tempfile._mkstemp_inner = inner  # type: ignore[attr-defined]
        os.mkdir = mkdir


def _threads_that_stay() -> list[str]:
    """The names of the threads beside this one that a fork can't do without."""
    with open("/proc/self/maps") as file:
        maps = file.read()
    if any(name in maps for name in ENDING_THREADS):
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
    names: list[str] = []
    for attempt in range(_LOOKS_FOR_THREADS):
        if attempt:
            time.sleep(_LOOK_INTERVAL_S)
        names = _thread_names(maps)
        if not names:
            break
    return names


def _thread_names(maps: str) -> list[str]:
    names = []
    for thread in _numbers("/proc/self/task") - {os.getpid()}:
        with contextlib.suppress(OSError), open(f"/proc/self/task/{thread}/comm") as file:
            name = file.read().strip()
            library = DISPENSABLE_THREADS.get(name)
            if library is None or library not in maps:
                names.append(name)
    return sorted(names)


def _numbers(folder: str) -> set[int]:
    return {int(name) for name in os.listdir(folder)}


def _what_is(fd: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:  # the one with which the folder was listed
        return ""


def _children() -> set[int]:
    found: set[int] = set()
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError), open(f"/proc/self/task/{thread}/children") as listing:
            found |= {int(child) for child in listing.read().split()}
    return found


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
