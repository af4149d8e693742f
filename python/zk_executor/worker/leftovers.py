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
import gc
import io  # noqa: F401
import json  # noqa: F401
import locale
import logging
import os
import random
import signal
import socket
import sys
import threading
import time
import weakref
from typing import Any

from zk_executor.worker import processes

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

# Of which a warm process makes tasks, and Airflow's task its start. A library that replaces parts
# of them (gevent's monkey patching) does so under the feet of both.
_STANDARD = tuple(
    name
    for name in ("builtins", "io", "json", "os", "select", "selectors", "signal", "socket",
                 "subprocess", "threading", "time")
    if name in sys.modules
)  # fmt: skip

_SIGNALS = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


class State:
    """A process at one moment, as far as imports should leave it alone."""

    def __init__(self) -> None:
        self.descriptors = {fd: _what_is(fd) for fd in _numbers("/proc/self/fd")}
        self.threads = _numbers("/proc/self/task")
        self.children = set(processes.children(os.getpid()))
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
            "default timeout of sockets": socket.getdefaulttimeout(),
        }
        self.generators = _generators()
        self.python_random = random.getstate()
        self.shared_memory = _shared_memory()
        self.standard = _standard_names()
        # What runs at exit to take away what was made at the import.
        self.finalizers = len(weakref.finalize._registry)  # type: ignore[attr-defined]
        # Not imported here: its own handler would then be in no task, as tasks forget what was
        # registered before they were forked.
        multiprocessing = sys.modules.get("multiprocessing.util")
        self.finalizers += len(getattr(multiprocessing, "_finalizer_registry", ()))

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
        if self.shared_memory - before.shared_memory:
            return "shared_memory", "memory that forks would share"
        for name, value in self.plain.items():
            if value != before.plain[name]:
                return "state", name
        if patched := sorted(before.standard.items() - self.standard.items()):
            return "patched", patched[0][0]
        if new := sorted(self.generators - before.generators):
            return "random", ", ".join(new)
        if _is_numpys_used():
            return "random", "numpy's global generator was used or seeded"
        if self.python_random != before.python_random:
            return "random", "Python's global generator was used or seeded"
        return "", ""


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
    for name in processes.other_threads():
        library = DISPENSABLE_THREADS.get(name)
        if library is None or library not in maps:
            names.append(name)
    return sorted(names)


def _generators() -> set[str]:
    """
    Those of random numbers that would say the same in every fork, each by its type and number.

    The global ones are seeded anew in forks, and what draws from the system needs not to be.
    """
    numpy: Any = sys.modules.get("numpy.random")
    kinds: tuple[type, ...] = (random.Random,)
    found: set[str] = set()
    temporary = getattr(sys.modules.get("tempfile"), "_name_sequence", None)  # knows of forks, too
    ours = [getattr(random, "_inst", None), getattr(temporary, "_rng", None)]
    if numpy is not None and hasattr(numpy, "mtrand"):
        kinds += (numpy.Generator, numpy.RandomState)
        ours.append(numpy.mtrand._rand)
    for one in gc.get_objects():
        # Its type alone: to ask an object may wake one that loads something.
        kind = type(one)
        if not issubclass(kind, kinds) or issubclass(kind, random.SystemRandom):
            continue
        if not any(one is known for known in ours):
            found.add(f"{kind.__module__}.{kind.__name__} {id(one)}")
    return found


def _is_numpys_used() -> bool:
    """Whether numpy's global generator is not as its import makes it: used, or seeded."""
    numpy: Any = sys.modules.get("numpy.random")
    if numpy is None or not hasattr(numpy, "MT19937"):
        return False
    with contextlib.suppress(Exception):
        now, fresh = numpy.get_state(legacy=False), numpy.MT19937().state
        return bool(now["bit_generator"] != "MT19937" or _position(now) != _position(fresh))
    return True


def _position(state: Any) -> Any:
    """In the numbers that the generator has made at once."""
    return state["state"]["pos"]


def _shared_memory() -> set[str]:
    """The mappings that a fork has in common with its parent, as locks of processes are."""
    with open("/proc/self/maps") as maps:
        return {line.split()[0] for line in maps if line.split()[1].endswith("s")}


def _standard_names() -> dict[str, int]:
    """What the names of modules stand for that start a task, so that a change is seen."""
    found: dict[str, int] = {}
    for name in _STANDARD:
        for attribute, value in vars(sys.modules[name]).items():
            if not attribute.startswith("_") and callable(value):
                found[f"{name}.{attribute}"] = id(value)
    return found


def _numbers(folder: str) -> set[int]:
    return {int(name) for name in os.listdir(folder)}


def _what_is(fd: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:  # the one with which the folder was listed
        return ""


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
