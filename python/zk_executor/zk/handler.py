# SPDX-License-Identifier: Apache-2.0
"""kazoo's handler (its threads, events and wake-ups), changed in two ways.

kazoo wakes its connection thread with one byte per request in a socket that only this thread
reads, and which it does not read while it connects: after about 280 requests the next caller
blocks, an event loop as well, until there is a connection. ``Wakeups`` is a counter of the kernel
in the socket's place; writing to it never blocks.

kazoo's synchronous calls wait for ever. Here a result is waited for as long as the client's
``answer_timeout`` and the caller's ``waits.within`` allow, and then raises NoAnswer.

Threads: any. Errors: NoAnswer.
"""

from __future__ import annotations

import errno
import os
import threading
from contextlib import suppress
from typing import Any

from kazoo.exceptions import OperationTimeoutError
from kazoo.handlers.threading import KazooTimeoutError, SequentialThreadingHandler
from kazoo.handlers.utils import AsyncResult

from zk_executor.zk import waits


class NoAnswer(OperationTimeoutError, KazooTimeoutError):
    """No server answered in time. What was asked may have been done."""


class Wakeups:
    """In the place of kazoo's pair of sockets: a byte that is sent is one that can be received.

    Only the connection thread receives. After ``close`` sending raises OSError, as a socket does.
    """

    def __init__(self) -> None:
        flags = os.EFD_SEMAPHORE | os.EFD_NONBLOCK | os.EFD_CLOEXEC
        self._fd = os.eventfd(0, flags)
        self._lock = threading.Lock()  # so that nobody writes to a number that is another file now

    def fileno(self) -> int:
        return self._fd

    def send(self, data: bytes) -> int:
        with self._lock:
            if self._fd < 0:
                raise OSError(errno.EBADF, "closed")
            os.eventfd_write(self._fd, len(data))
        return len(data)

    def recv(self, _: int) -> bytes:
        with suppress(BlockingIOError):
            os.eventfd_read(self._fd)
            return b"\0"
        return b""

    def close(self) -> None:
        with self._lock:
            fd, self._fd = self._fd, -1
            if fd >= 0:
                os.close(fd)

    def forked(self) -> None:
        """In a child: the parent's goes on; whatever lock was held at the fork is not ours."""
        self._lock = threading.Lock()
        self.close()


class Result(AsyncResult):
    """kazoo's result. given_up: whoever waited for it does no more; until: nor at this time."""

    def __init__(self, handler: Handler) -> None:
        super().__init__(handler, threading.Condition, NoAnswer)
        self.given_up = False
        self.until = float("inf")  # by time.monotonic()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        if not block:
            return super().get(block=False)
        self.given_up = False
        try:
            return super().get(timeout=self._seconds(timeout))
        except NoAnswer:
            self.given_up = True
            raise

    def wait(self, timeout: float | None = None) -> bool:
        return bool(super().wait(self._seconds(timeout)))

    def _seconds(self, timeout: float | None) -> float:
        return waits.left(self._handler.answer_timeout if timeout is None else timeout)


class Handler(SequentialThreadingHandler):
    """For one client. answer_timeout: seconds that a call waits which says nothing else."""

    timeout_exception = NoAnswer

    def __init__(self, answer_timeout: float) -> None:
        super().__init__()
        self.answer_timeout = answer_timeout

    def create_socket_pair(self) -> tuple[Wakeups, Wakeups]:
        wakeups = Wakeups()
        return wakeups, wakeups

    def async_result(self) -> Result:
        return Result(self)
