# SPDX-License-Identifier: Apache-2.0
"""
A template: a fork of the zygote that parses one DAG file and then forks its tasks.

A task forked from it finds the DAG file parsed: Airflow's task runner asks for a DagBag of
the file, and gets the template's. What the parse printed and logged comes in every task's
log, as if the task had parsed the file itself.

First message to the worker: ``{"event": "parsed", "pid", "reason", "detail",
"dependencies"}``. With a reason the file can have no template, and the process ends.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any, NoReturn

from zk_executor.worker import processes, purity
from zk_executor.worker.channel import Channel, ChannelClosed
from zk_executor.worker.forks import Forks


class Output:
    """What is written to a descriptor during the parse, kept to be written again."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._kept = os.memfd_create("parse")
        self.text = b""

    @contextlib.contextmanager
    def captured(self) -> Iterator[None]:
        saved = os.dup(self.fd)
        os.dup2(self._kept, self.fd)
        try:
            yield
        finally:
            os.dup2(saved, self.fd)
            os.close(saved)
            size = os.lseek(self._kept, 0, os.SEEK_END)
            self.text = os.pread(self._kept, size, 0)
            os.close(self._kept)


class Template:
    """Owns the parsed file. One thread."""

    def __init__(self, what: dict[str, Any]) -> None:
        self._what = what
        # Logging is set up once, with this descriptor, and loggers that are used while the file
        # is parsed stay bound to it: in a task it becomes the task's own channel.
        self._log = Output(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC))
        self._stdout = Output(1)
        self._stderr = Output(2)
        self._bag: Any = None
        self._bundle_path: Any = None
        self._dag_folder = ""
        self._real_bag: Any = None

    def parse(self) -> dict[str, Any]:
        """Parse the file; return the report. Never raises."""
        try:
            return self._parse()
        except BaseException as error:  # SystemExit of a DAG file included
            detail = f"{type(error).__name__}: {error}"[:500]
            return {"reason": "error", "detail": detail, "dependencies": []}

    def _parse(self) -> dict[str, Any]:
        from airflow.dag_processing import dagbag
        from airflow.dag_processing.bundles.manager import DagBundlesManager
        from airflow.sdk.execution_time import supervisor, task_runner

        # Since 3.4 a version may come with data of its own.
        data = self._what.get("version_data")
        more = {} if data is None else {"version_data": data}
        bundle = DagBundlesManager().get_bundle(
            name=self._what["bundle"], version=self._what["version"], **more
        )
        if self._what["version"] is None and type(bundle).__name__ != "LocalDagBundle":
            return {"reason": "bundle", "detail": type(bundle).__name__, "dependencies": []}
        bundle.initialize()
        self._bundle_path = bundle.path
        self._dag_folder = os.path.join(os.fspath(bundle.path), self._what["path"])
        self._real_bag = dagbag.BundleDagBag
        with contextlib.ExitStack() as stack:
            for output in (self._log, self._stdout, self._stderr):
                stack.enter_context(output.captured())
            supervisor._configure_logs_over_json_channel(self._log.fd)
            watch = stack.enter_context(purity.watch())
            task_runner.SUPERVISOR_COMMS = _NoComms(watch)
            for path in (*sys.path, os.fspath(bundle.path), self._dag_folder):
                if path:
                    watch.depend_on(path)
            self._bag = dagbag.BundleDagBag(
                dag_folder=self._dag_folder,
                safe_mode=False,
                load_op_links=False,
                bundle_path=self._bundle_path,
                bundle_name=self._what["bundle"],
            )
            sys.stdout.flush()
            sys.stderr.flush()
            if self._bag.import_errors:
                watch.blame("import_error", str(list(self._bag.import_errors))[:500])
            if threading.active_count() > 1:
                watch.blame("threads", str(threading.enumerate())[:500])
            dependencies = watch.settle()
        del task_runner.SUPERVISOR_COMMS
        if not watch.reason:
            self._import_learnt(watch)
        return {"reason": watch.reason, "detail": watch.detail, "dependencies": dependencies}

    def _import_learnt(self, watch: purity.Watch) -> None:
        """What earlier tasks of the file had to import themselves, imported once for all."""
        with purity.watch() as learning:
            for name in self._what.get("modules", ()):
                with contextlib.suppress(Exception):
                    importlib.import_module(name)
        if learning.reason in ("network", "process") or threading.active_count() > 1:
            watch.blame("modules", learning.detail)

    def prepare_task(self, log_fd: int) -> int:
        """
        In a fork: the template's channel of log events becomes the task's.

        Returns 0: there is no channel for which logging is still to be set up. (That takes
        Airflow 20 ms, because it goes through all loggers.)
        """
        from airflow.dag_processing import dagbag

        os.dup2(log_fd, self._log_fd, inheritable=False)
        os.close(log_fd)
        dagbag.BundleDagBag = self._bag_for  # type: ignore[misc,assignment]
        return 0

    def _bag_for(self, *args: Any, **kwargs: Any) -> Any:
        """Airflow's BundleDagBag(), for the one file answered from memory."""
        asked = (kwargs.get("dag_folder"), kwargs.get("bundle_path"), kwargs.get("bundle_name"))
        if args or asked != (self._dag_folder, self._bundle_path, self._what["bundle"]):
            return self._real_bag(*args, **kwargs)
        self._replay()
        return self._bag

    def _replay(self) -> None:
        if self._stdout.text or self._stderr.text:
            sys.stdout.flush()
            sys.stderr.flush()
            _write_all(1, self._stdout.text)
            _write_all(2, self._stderr.text)
        if self._log.text:
            _write_all(self._log_fd, _as_of_now(self._log.text))

    @property
    def _log_fd(self) -> int:
        return self._log.fd


class _NoComms:
    """A supervisor that there is none of: a parse that asks one is not pure."""

    socket = None

    def __init__(self, watch: purity.Watch) -> None:
        self._watch = watch

    def send(self, msg: Any, *_: Any, **__: Any) -> Any:
        self._watch.blame("request", type(msg).__name__)
        raise RuntimeError("a DAG file can't ask the supervisor while it is parsed for a template")

    asend = send


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _as_of_now(lines: bytes) -> bytes:
    """Log events with the time, and the names of the task, that they would have now."""
    import structlog

    context = structlog.contextvars.get_contextvars()
    out = []
    for line in lines.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        now = datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")
        event = {**event, "timestamp": now, **{k: v for k, v in context.items() if k not in event}}
        out.append(json.dumps(event, separators=(",", ":")).encode())
    return b"".join(line + b"\n" for line in out)


def serve(what: dict[str, Any], parent: int) -> NoReturn:
    """Be a template, in a fork of the zygote. Never returns."""
    try:
        (fd,) = what["fds"]
        processes.die_with_parent(parent)
        channel = Channel(socket.socket(fileno=fd))
        wakeup, wake = socket.socketpair()
        wakeup.setblocking(False)
        wake.setblocking(False)
        template = Template(what)
        report = template.parse()
        channel.send({"event": "parsed", "pid": os.getpid(), **report})
        if report["reason"]:
            os._exit(0)
        with contextlib.suppress(Exception):
            from setproctitle import setproctitle

            setproctitle(f"zk-worker template -- {what['path']}")
        gc.collect()
        gc.freeze()
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        _loop(channel, wakeup, wake, template)
    except ChannelClosed:
        processes.kill_all_descendants(os.getpid())
    finally:
        os._exit(0)


def _loop(
    channel: Channel,
    wakeup: socket.socket,
    wake: socket.socket,
    template: Template,
) -> None:
    learnt, lessons = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    learnt.setblocking(False)
    forks = Forks(channel, lessons)

    def let_go() -> None:
        signal.set_wakeup_fd(-1)
        for one in (channel, wakeup, wake, learnt):
            one.close()

    while True:
        readable, _, _ = select.select([channel, wakeup, learnt], [], [])
        if learnt in readable:
            channel.send({"event": "learnt", "modules": json.loads(learnt.recv(1 << 17))})
        if wakeup in readable:
            with contextlib.suppress(BlockingIOError):
                wakeup.recv(4096)
        reap(forks)
        if channel in readable:
            for message in channel.receive():
                if message["op"] == "fork":
                    forks.fork(message, let_go, template.prepare_task)


def reap(forks: Forks) -> None:
    """Report every child that has ended."""
    while True:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        forks.reaped(pid, status, usage)
