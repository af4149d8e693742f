# SPDX-License-Identifier: Apache-2.0
"""
The zygote: the Python process of a worker that has Airflow imported and forks.

``zk-worker`` starts it with ``python -m zk_executor.worker.zygote --fd N``, N being one end of
a stream socket. It lives in two stages. The first reads the configuration and sends it; then
the process replaces itself, with an environment without the worker's secrets (the tasks are
forks, and /proc shows what a process was started with), and the second stage imports Airflow
and serves.

One thread, always: it forks. It must not log through Airflow's loggers either: a logger that
was used here stays bound to this process's output in every fork.

Messages from the worker: ``{"op": "run", "id", "workload"}``, ``{"op": "kill", "id", "signal"}``
for what Airflow's own supervisor runs; for the native one ``fork`` (see forks.py), ``warm``,
``scan``, ``helper``, ``upload``.
Messages to it: ``{"event": "hello" | "failed" | "ready" | "started" | "exited" | "uploaded", …}``
and those of forks.py.
When the worker's end closes, the worker is dead: everything below this process is killed.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
from typing import Any

from zk_executor.worker import (
    exit_handlers,
    handshake,
    helper,
    hostname,
    import_scan,
    installed,
    processes,
    shared_adapters,
    task_start,
    tracing,
    warm_process,
    workload,
)
from zk_executor.worker.channel import Channel, ChannelClosed
from zk_executor.worker.forks import Forks

# What Airflow's supervisor has loaded when it forks a task; what it registered to be done at exit
# is not the task's.
PRELOAD_OF_SUPERVISOR = (
    "airflow.executors.base_executor",
    "airflow.executors.workloads",
    "airflow.sdk.execution_time.supervisor",
)
# What the task, or what else is forked, loads itself there.
PRELOAD = (
    "airflow.sdk.execution_time.task_runner",
    "airflow.sdk.execution_time.callback_supervisor",
    "airflow.sdk.execution_time.connection_test_supervisor",
    "airflow.dag_processing.dagbag",
    "airflow.dag_processing.bundles.manager",
    "airflow.dag_processing.bundles.local",
    "airflow.providers.standard.operators.python",
    "airflow.providers.standard.operators.bash",
    "airflow.providers.standard.decorators.python",
    "airflow.sdk.definitions.decorators",
    "airflow.sdk.definitions.connection",
    "airflow.sdk.definitions.asset.metadata",
    "airflow.sdk.execution_time.cache",
    "jinja2.ext",
    "setproctitle",
    "encodings.idna",
)
THREAD_LOOKS = 20
THREAD_LOOK_INTERVAL_S = 0.05
STAGE_VARIABLE = "_ZK_EXECUTOR_ZYGOTE"


class Zygote:
    """Forks a process per workload and reports each end, exactly once."""

    def __init__(self, channel: Channel, server: str, bundle_cleanup_interval: float) -> None:
        self._channel = channel
        self._server = server
        self._runs: dict[int, tuple[str, int]] = {}  # pid: dispatch id, fd of its report
        self._forks = Forks(channel)
        self._uploads: dict[int, int] = {}  # pid: the worker's number
        self._attended: set[int] = set()  # pids of what _attend() forked
        self._cleanup_interval = bundle_cleanup_interval
        self._next_cleanup = time.monotonic() + bundle_cleanup_interval
        self._wakeup, wake = socket.socketpair()
        self._wake = wake
        self._wakeup.setblocking(False)
        wake.setblocking(False)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # Signals to the terminal's group are the worker's to handle.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def serve(self) -> None:
        """Serve until the worker is gone; then leave nothing behind."""
        try:
            while True:
                wait = max(0.0, self._next_cleanup - time.monotonic())
                readable, _, _ = select.select([self._channel, self._wakeup], [], [], wait)
                if self._wakeup in readable:
                    with contextlib.suppress(BlockingIOError):
                        self._wakeup.recv(4096)
                self._reap()
                if self._channel in readable:
                    for message in self._channel.receive():
                        self._handle(message)
                if time.monotonic() >= self._next_cleanup:
                    self._next_cleanup = time.monotonic() + self._cleanup_interval
                    self._clean_bundles()
        except ChannelClosed:
            processes.kill_all_descendants(os.getpid())

    def _handle(self, message: dict[str, Any]) -> None:
        if message["op"] == "run":
            self._run(message["id"], message["workload"])
        elif message["op"] == "kill":
            self._kill(message["id"], message["signal"])
        elif message["op"] == "fork":
            self._forks.fork(message, self._become_child)
        elif message["op"] in ("warm", "scan", "helper", "upload"):
            self._attend(message)

    def _attend(self, message: dict[str, Any]) -> None:
        """Fork a process that talks with the worker itself, or that does one thing for it."""
        parent = os.getpid()
        pid = -1
        with contextlib.suppress(OSError):
            pid = os.fork()
        if pid == 0:
            try:
                self._become_child()
                if message["op"] == "warm":
                    warm_process.serve(message, parent)
                elif message["op"] == "scan":
                    import_scan.serve(message, parent)
                elif message["op"] == "helper":
                    helper.serve(message, parent, self._server)
                else:
                    helper.upload(message, parent, self._server)
            finally:
                os._exit(125)
        for fd in message.get("fds", ()):
            os.close(fd)
        if pid > 0:
            self._attended.add(pid)
        if message["op"] == "upload":
            if pid < 0:
                self._channel.send({"event": "uploaded", "upload": message["upload"]})
            else:
                self._uploads[pid] = message["upload"]

    def _run(self, dispatch: str, workload_json: str) -> None:
        read_end, write_end = os.pipe()
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            os.close(read_end)
            os.close(write_end)
            info = f"cannot fork: {error}"
            self._channel.send(
                {"event": "exited", "id": dispatch, "outcome": "failed", "info": info}
            )
            return
        if pid == 0:
            self._become_child()
            os.close(read_end)
            tracing.start()
            workload.child_main(workload_json, self._server, parent, write_end)
        os.close(write_end)
        self._runs[pid] = (dispatch, read_end)
        self._channel.send({"event": "started", "id": dispatch, "pid": pid})

    def _become_child(self) -> None:
        """In a fork: let go of what is the zygote's."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        self._channel.close()
        self._wakeup.close()
        self._wake.close()
        for _, report_fd in self._runs.values():
            os.close(report_fd)

    def _kill(self, dispatch: str, number: int) -> None:
        for pid, (known, _) in self._runs.items():
            if known != dispatch:
                continue
            if number == signal.SIGKILL:
                # The task first: its supervisor then sees why it ended, and says so.
                below = processes.descendants(pid)
                for one in below or [pid]:
                    processes.kill(one, signal.SIGKILL)
            else:
                # The task itself, whose on_kill runs: its supervisor would wait for its end, or,
                # before 3.4, hand the signal on. What has no process of its own is run by ours.
                for one in processes.children(pid) or [pid]:
                    processes.kill(one, number)

    def _reap(self) -> None:
        for pid, status, usage in processes.reap():
            self._attended.discard(pid)
            if pid in self._runs:
                self._report(pid, os.waitstatus_to_exitcode(status))
            elif pid in self._uploads:
                self._channel.send({"event": "uploaded", "upload": self._uploads.pop(pid)})
            else:
                self._forks.reaped(pid, status, usage)

    def _report(self, pid: int, code: int) -> None:
        dispatch, report_fd = self._runs.pop(pid)
        with os.fdopen(report_fd, "rb") as report:
            os.set_blocking(report.fileno(), False)
            text = report.read() or b""
        try:
            outcome = json.loads(text)
        except ValueError:
            outcome = workload.outcome_of_exit(code or 1)
            outcome["info"] = outcome["info"].replace("the task process", "the task's supervisor")
            self._kill_strays()
        self._channel.send({"event": "exited", "id": dispatch, **outcome})

    def _kill_strays(self) -> None:
        """A supervisor died without a word: what it left behind is now our own child."""
        for child in processes.children(os.getpid()):
            known = child in self._runs or child in self._attended or self._forks.owns(child)
            if not known:
                for one in [*processes.descendants(child), child]:
                    processes.kill(one, signal.SIGKILL)

    def _clean_bundles(self) -> None:
        """Remove bundle versions that no task uses any more, in a process of its own."""
        if os.fork() == 0:
            try:
                self._become_child()
                from airflow.dag_processing.bundles.base import BundleUsageTrackingManager

                BundleUsageTrackingManager().remove_stale_bundle_versions()
            finally:
                os._exit(0)


def _first_stage(channel: Channel, fd: int) -> None:
    """Send the configuration, then start anew without the secrets. Does not return on success."""
    try:
        values = handshake.read()
    except Exception as error:
        invalid = type(error).__name__ in ("InvalidSetting", "AirflowConfigException")
        message = str(error) if invalid else f"{type(error).__name__}: {error}"
        channel.send({"event": "failed", "invalid": invalid, "message": message})
        sys.exit(2)
    channel.send({"event": "hello", **values})
    environment = handshake.clean_environment(dict(os.environ))
    environment.update(hostname.environment(values["configured_host"]))
    environment[STAGE_VARIABLE] = json.dumps(
        {
            "server": values["execution_api_server_url"],
            "preload": values["preload"],
            "dag_folders": values["dag_folders"],
            "bundle_cleanup_interval": values["bundle_cleanup_interval_s"],
        }
    )
    os.set_inheritable(fd, True)
    arguments = [sys.executable, "-m", "zk_executor.worker.zygote", "--fd", str(fd)]
    os.execve(sys.executable, arguments, environment)


def _second_stage(channel: Channel, settings: dict[str, Any]) -> None:
    processes.become_subreaper()
    # "python -m" puts the working directory first; Airflow's own commands do not have it.
    if sys.path and sys.path[0] == os.getcwd():
        del sys.path[0]
    try:
        _preload(settings["preload"])
    except ImportError as error:
        message = f"[zk_executor] preload: {error}"
        channel.send({"event": "failed", "invalid": True, "message": message})
        sys.exit(2)
    shared_adapters.share_adapters()
    task_start.forget_folders(installed.Installed(settings["dag_folders"]))
    # Airflow may have asked a secrets backend of ours for an option of its configuration.
    if client := sys.modules.get("zk_executor.zk.client"):
        client.end_all()
    _tell_threads()
    zygote = Zygote(channel, settings["server"], settings["bundle_cleanup_interval"])
    gc.collect()
    gc.freeze()
    processes.unmap_clean_file_pages()
    channel.send({"event": "ready", "pid": os.getpid()})
    zygote.serve()


def _preload(wanted: list[str]) -> None:
    """Import what tasks need. Raises ImportError for what the configuration names."""
    with tracing.deferred():
        for name in PRELOAD_OF_SUPERVISOR:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    with exit_handlers.kept():
        for name in PRELOAD:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        # Its names are imported when they are asked for, and most DAG files would differ in them.
        sdk = sys.modules.get("airflow.sdk")
        for name in getattr(sdk, "__all__", ()):
            getattr(sdk, name, None)
        for name in wanted:
            try:
                importlib.import_module(name)
            except ImportError as error:
                raise ImportError(f"cannot import {name}: {error}") from error


def _tell_threads() -> None:
    """A process with several threads is not one to fork: say so, as no task could tell why."""
    for _ in range(THREAD_LOOKS):
        # One that was told to end is there a moment longer.
        names = sorted(processes.other_threads())
        if not names:
            return
        time.sleep(THREAD_LOOK_INTERVAL_S)
    if names:
        print(
            f"zk-worker: the imports of Airflow's configuration started {len(names)} threads "
            f"({', '.join(names)}), which forks don't have: what needs them can hang in tasks. "
            "Look at [secrets], [zk_executor] preload and airflow_local_settings.",
            file=sys.stderr,
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Started by zk-worker; not for use by hand.")
    parser.add_argument("--fd", type=int, required=True, help="the worker's end of the channel")
    fd = parser.parse_args().fd
    os.set_inheritable(fd, False)
    channel = Channel(socket.socket(fileno=fd))
    stage = os.environ.pop(STAGE_VARIABLE, "")
    try:
        if stage:
            _second_stage(channel, json.loads(stage))
        else:
            _first_stage(channel, fd)
    except ChannelClosed:
        # Before we serve there is nothing below us to end. zk-worker may have all that it wanted
        # (--check-config), or has said why it ended: its words are the last.
        sys.exit(0)


if __name__ == "__main__":
    main()
