# SPDX-License-Identifier: Apache-2.0
"""
A warm process: a fork of the zygote that has imported what some DAG files import at their top,
has Airflow's logging set up, and forks those files' tasks. No line of a DAG file runs in it.

A module that leaves more behind than modules (see leftovers.py), that writes something, asks
something or can't be imported is not for it: it says which one, and ends.

Messages to the worker: ``{"event": "importing", "index", "pid"}`` before each import;
``{"event": "ready", "pid", "modules", "paths", "ms"}``, or ``{"event": "unfit", "index",
"reason", "detail"}``; those of forks.py; ``{"event": "located", …}`` when a task has found out
where its DAG file lies. From the worker: ``fork``.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import os
import select
import signal
import socket
import sys
import time
import weakref
from collections.abc import Iterator
from importlib.machinery import PathFinder
from typing import Any, NoReturn

from zk_executor.worker import (
    exit_handlers,
    import_watch,
    installed,
    leftovers,
    locations,
    processes,
    rehearsal,
    task_start,
    top_level_imports,
)
from zk_executor.worker.channel import Channel, ChannelClosed
from zk_executor.worker.forks import Forks
from zk_executor.worker.top_level_imports import Import

DETAIL_CHARACTERS_MAX = 300
# For what is done at the end of a process whose imports were unfit.
END_SECONDS_MAX = 10


class Unfit(Exception):
    """What was imported may not be imported ahead."""

    def __init__(self, index: int, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.index = index
        self.reason = reason
        self.detail = " ".join(detail.split())[:DETAIL_CHARACTERS_MAX]


class _NoComms:
    """A supervisor that there is none of: who asks it while being imported has to ask in a task."""

    socket = None

    def __init__(self) -> None:
        self.asked = ""

    def send(self, msg: Any, *_: Any, **__: Any) -> Any:
        self.asked = self.asked or type(msg).__name__
        raise RuntimeError("there is no supervisor to ask: this is not a task")

    asend = send


class _Look:
    """Looks after each import at what it has done and left behind."""

    def __init__(
        self,
        installation: installed.Installed,
        comms: _NoComms,
        outputs: list[int],
        watch: import_watch.Watch,
    ) -> None:
        self._installed = installation
        self._comms = comms
        self._outputs = outputs
        self._watch = watch
        self._modules = set(sys.modules)
        self._before = leftovers.State()

    def again(self) -> tuple[str, str]:
        """A fixed word and its detail, for which the last import was unfit; or nothing."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        if self._comms.asked:
            return "request", self._comms.asked
        for fd in self._outputs:
            if os.lseek(fd, 0, os.SEEK_END):
                return "output", os.pread(fd, DETAIL_CHARACTERS_MAX, 0).decode(errors="replace")
        reason, detail = leftovers.State().since(self._before)
        if reason:
            return reason, detail
        if made := [path for path in self._watch.made if os.path.lexists(path)]:
            return "files", made[0]
        if self._watch.fork_hooks:
            return "fork_hooks", self._watch.fork_hooks[0]
        for name in sys.modules.keys() - self._modules:
            module = sys.modules.get(name)
            if module is not None and not self._installed.has(module):
                return "not_installed", name
        self._modules.update(sys.modules)
        return "", ""


class WarmProcess:
    """Imports, then prepares forks. One thread."""

    def __init__(self, imports: list[Import], installation: installed.Installed) -> None:
        self._imports = imports
        self._installed = installation
        self.paths: list[dict[str, Any]] = []
        self.import_seconds = 0.0  # what a task saves that finds it all imported
        # Loggers that modules use while they are imported stay bound to this descriptor; in a
        # task it becomes the task's own channel.
        self._log_fd = os.memfd_create("log", os.MFD_CLOEXEC)

    def prepare(self, told: Any) -> None:
        """Import all; ``told`` is called with the number of each before. Raises Unfit."""
        from airflow.sdk.execution_time import supervisor, task_runner

        for stream in (sys.stdout, sys.stderr):
            # As in a task: modules may keep the stream that they find.
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        supervisor._configure_logs_over_json_channel(self._log_fd)
        task_start.keep_exception_hook()
        # As each task does at its start. Done before a fork, it also spares each fork the care for
        # the pools of database connections, which costs it 2 ms.
        supervisor.block_orm_access()
        rehearsal.rehearse()
        os.ftruncate(self._log_fd, 0)
        os.lseek(self._log_fd, 0, os.SEEK_SET)
        self._depend_on_installation()
        comms = _NoComms()
        task_runner.SUPERVISOR_COMMS = comms  # type: ignore[assignment]
        # So that what an import leaves to run on has this process for its parent.
        processes.become_subreaper()
        task_start.keep_warning_filters()
        with (
            _captured(1, 2) as written,
            exit_handlers.kept(),
            import_watch.watched() as watch,
        ):
            look = _Look(self._installed, comms, [self._log_fd, *written], watch)
            for index, one in enumerate(self._imports):
                told(index)
                self._import(index, one)
                reason, detail = look.again()
                if reason:
                    raise Unfit(index, reason, detail)
            read = dict.fromkeys(path for path in watch.read if not self._installed.holds(path))
            self.paths += filter(None, map(top_level_imports.path_state, read))
        processes.become_subreaper(False)
        del task_runner.SUPERVISOR_COMMS
        task_start.forget_folders(self._installed)

    def _import(self, index: int, one: Import) -> None:
        began = time.monotonic()
        try:
            one.run()
        except BaseException as error:  # SystemExit included
            raise Unfit(index, "error", f"{type(error).__name__}: {error}") from error
        self.import_seconds += time.monotonic() - began

    def _depend_on_installation(self) -> None:
        """What changes when a package is installed, upgraded or removed."""
        paths = installed.roots()
        for one in self._imports:
            top = one.name.partition(".")[0]
            with contextlib.suppress(Exception):
                spec = sys.modules[top].__spec__ if top in sys.modules else None
                spec = spec or PathFinder.find_spec(top)
                paths += list(spec.submodule_search_locations or ()) or [str(spec.origin)]
        states = (top_level_imports.path_state(path) for path in dict.fromkeys(paths))
        self.paths = [state for state in states if state]

    def become_task(self, log_fd: int) -> int:
        """
        In a fork: the descriptor of log events becomes the task's.

        Returns 0: there is no channel for which logging is still to be set up. (That takes
        Airflow 20 ms, because it goes through all loggers.)
        """
        os.dup2(log_fd, self._log_fd, inheritable=False)
        os.close(log_fd)
        return 0


@contextlib.contextmanager
def _captured(*fds: int) -> Iterator[list[int]]:
    """What is written to these descriptors within goes to files in memory instead."""
    saved = [os.dup(fd) for fd in fds]
    kept = [os.memfd_create("output", os.MFD_CLOEXEC) for _ in fds]
    for fd, file in zip(fds, kept, strict=True):
        os.dup2(file, fd)
    try:
        yield kept
    finally:
        for fd, old, file in zip(fds, saved, kept, strict=True):
            os.dup2(old, fd)
            os.close(old)
            os.close(file)


def serve(what: dict[str, Any], parent: int) -> NoReturn:
    """Be a warm process, in a fork of the zygote. Never returns."""
    try:
        (fd,) = what["fds"]
        processes.die_with_parent(parent)
        channel = Channel(socket.socket(fileno=fd))
        imports = [Import(name, tuple(names)) for name, names in what["imports"]]
        warm = WarmProcess(imports, installed.Installed(what["dag_folders"]))
        inherited = _finalizers()

        def tell(index: int) -> None:
            channel.send({"event": "importing", "index": index, "pid": os.getpid()})

        try:
            tell(0)
            warm.prepare(tell)
        except Unfit as unfit:
            channel.send(
                {
                    "event": "unfit",
                    "index": unfit.index,
                    "reason": unfit.reason,
                    "detail": unfit.detail,
                }
            )
            _take_away(inherited)
            os._exit(0)
        with contextlib.suppress(Exception):
            from setproctitle import setproctitle

            names = " ".join(one.name for one in imports)
            setproctitle(f"zk-worker warm -- {names}"[:200])
        wakeup, wake = socket.socketpair()
        wakeup.setblocking(False)
        wake.setblocking(False)
        gc.collect()
        gc.freeze()
        processes.unmap_clean_file_pages()
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # In the order in which they were loaded, as one may depend on another's work.
        modules = "\n".join(sys.modules).encode()
        channel.send(
            {
                "event": "ready",
                "pid": os.getpid(),
                "modules": hashlib.sha256(modules).hexdigest(),
                "paths": warm.paths,
                "ms": round(warm.import_seconds * 1000),
            }
        )
        _loop(channel, wakeup, wake, warm)
    except ChannelClosed:
        processes.kill_all_descendants(os.getpid())
    finally:
        os._exit(0)


def _finalizers() -> list[Any]:
    return list(weakref.finalize._registry)  # type: ignore[attr-defined]


def _take_away(inherited: list[Any]) -> None:
    """
    End what unfit imports have started, and remove what they wanted to be removed at exit.

    ``inherited`` are the finalizers of the zygote, whose things are not ours to remove.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(END_SECONDS_MAX)
    processes.become_subreaper()
    processes.kill_all_descendants(os.getpid())
    for one in _finalizers():
        if one.atexit and one not in inherited:
            with contextlib.suppress(Exception):
                one()


def _loop(channel: Channel, wakeup: socket.socket, wake: socket.socket, warm: WarmProcess) -> None:
    heard, told = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    heard.setblocking(False)
    files = locations.Locations(told)
    forks = Forks(channel, files)

    def let_go() -> None:
        signal.set_wakeup_fd(-1)
        for one in (channel, wakeup, wake, heard):
            one.close()

    while True:
        readable, _, _ = select.select([channel, wakeup, heard], [], [])
        if heard in readable:
            location = json.loads(heard.recv(locations.BYTES_MAX))
            if files.add(location):
                channel.send({"event": "located", **location})
        if wakeup in readable:
            with contextlib.suppress(BlockingIOError):
                wakeup.recv(4096)
        for ended in processes.reap():
            forks.reaped(*ended)
        if channel in readable:
            for message in channel.receive():
                if message["op"] == "fork":
                    forks.fork(message, let_go, warm.become_task)
