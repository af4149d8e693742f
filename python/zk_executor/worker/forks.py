# SPDX-License-Identifier: Apache-2.0
"""
Forking task processes for the native supervisor: what the zygote and the warm processes share.

Message to us: ``{"op": "fork", "child", "fds"}``, the descriptors being the task's channel,
stdout, stderr and log events. Messages from us: ``spawned`` (with a pidfd), ``ended``,
``fork_failed``.

A child boots at once and then waits for its task, so that a child that was forked ahead
starts a task with one write of the worker.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from collections.abc import Callable
from typing import Any, NoReturn

from zk_executor.worker import processes, task_start
from zk_executor.worker.channel import Channel
from zk_executor.worker.locations import Locations


class Forks:
    """
    The children of one server. One thread: it forks.

    ``locations`` are watched in each child, if given.
    """

    def __init__(self, channel: Channel, locations: Locations | None = None) -> None:
        self._channel = channel
        self._locations = locations
        self._children: dict[int, int] = {}  # pid: the worker's number

    def owns(self, pid: int) -> bool:
        return pid in self._children

    def fork(
        self,
        message: dict[str, Any],
        let_go: Callable[[], None],
        prepare: Callable[[int], int] | None = None,
    ) -> None:
        """
        Fork one child. ``let_go`` closes in it what is the server's; ``prepare`` is called in
        it with the descriptor of its log events, and returns the one to set up logging for.
        """
        child, fds = message["child"], message["fds"]
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            for fd in fds:
                os.close(fd)
            self._channel.send(
                {"event": "fork_failed", "child": child, "message": f"cannot fork: {error}"}
            )
            return
        if pid == 0:
            become_task(fds, parent, let_go, prepare, self._locations)
        with contextlib.suppress(OSError):  # it may have done it itself, or be gone
            os.setpgid(pid, pid)
        for fd in fds:
            os.close(fd)
        self._children[pid] = child
        pidfd = os.pidfd_open(pid)
        try:
            self._channel.send({"event": "spawned", "child": child, "pid": pid}, [pidfd])
        finally:
            os.close(pidfd)

    def reaped(self, pid: int, status: int, usage: Any) -> bool:
        """Report a child that was waited for. False: it is none of ours."""
        child = self._children.pop(pid, None)
        if child is None:
            return False
        self._channel.send(
            {
                "event": "ended",
                "child": child,
                "code": os.waitstatus_to_exitcode(status),
                "peak_kb": usage.ru_maxrss,
            }
        )
        return True


def become_task(
    fds: list[int],
    parent: int,
    let_go: Callable[[], None],
    prepare: Callable[[int], int] | None,
    locations: Locations | None,
) -> NoReturn:
    """Be a task process: boot, wait for the task, run it. Never returns."""
    try:
        processes.die_with_parent(parent)
        os.setpgid(0, 0)
        let_go()
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        requests, stdout, stderr, log_fd = fds
        if prepare is not None:
            log_fd = prepare(log_fd)
        from airflow.sdk.execution_time import supervisor

        supervisor._fork_main(
            socket.socket(fileno=requests),
            socket.socket(fileno=stdout),
            socket.socket(fileno=stderr),
            log_fd,
            lambda: _wait_and_run(locations),
        )
    finally:
        os._exit(124)


def _wait_and_run(locations: Locations | None) -> None:
    from airflow.sdk.execution_time import supervisor

    task_start.make_fresh()
    if locations is not None:
        locations.watch()
    select.select([0], [], [])
    supervisor._subprocess_main()
