# SPDX-License-Identifier: Apache-2.0
"""``Client``: kazoo's client, for long-lived processes in which many share one.

Every request of every kind goes through ``_call``, which

* never blocks (see handler.py), so that an event loop may ask;
* refuses at once what cannot be written: kazoo writes in its connection thread, which an exception
  there ends, for everybody who shares the client;
* keeps at most WAITING_MAX requests while there is no connection, and PENDING_MAX at any time;
  what is beyond gets ConnectionLoss, and was not done;
* takes none from the connection thread itself, which could not answer it.

What was asked for in an outage is not sent when the connection is back, if it is not waited for any
more: after ``answer_timeout``, or the asker's limit (waits.within). Nobody expects its effect then.

A connection thread that ends (kazoo's does after a refused SASL login, and after errors that it
does not expect) is replaced; the session is then another one, as after an expired one.

Threads: any, as kazoo's. After a fork the child's copy refuses everything with
ConnectionClosedError, and holds no descriptor of the parent's connection.
This file and handler.py are the ones that know kazoo's privates.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections import namedtuple
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import (
    EXCEPTIONS,
    AuthFailedError,
    BadArgumentsError,
    ConnectionClosedError,
    ConnectionLoss,
    ZookeeperError,
)
from kazoo.protocol.paths import _prefix_root
from kazoo.protocol.serialization import int_struct, write_string
from kazoo.protocol.states import KeeperState

from zk_executor.zk import waits
from zk_executor.zk.handler import Handler, NoAnswer

# Without a connection so many wait for one; each is a caller's thread, or was given up.
WAITING_MAX = 100
# Sent and not answered, or about to be sent. A caller with more to ask uses waits.pipelined.
PENDING_MAX = 10_000
# How long the end of a session may take; it goes on in the background.
END_SECONDS = 5.0
_PAUSE_MIN, _PAUSE_MAX = 1.0, 30.0
_NEGOTIATED = "_zk_executor_negotiated_ms"

# At DEBUG kazoo logs requests, and with them logins.
log = logging.getLogger("zk_executor.kazoo")
log.setLevel(logging.WARNING)
_clients: weakref.WeakSet[Client] = weakref.WeakSet()


class UnknownServerError(ZookeeperError):
    """An error code of a server that this kazoo has no name for."""


# By itself kazoo's table raises for such a code, and ends the connection thread.
EXCEPTIONS.default_factory = lambda: UnknownServerError


class _RemoveDataWatch(namedtuple("_RemoveDataWatch", "path watchers")):
    """The request removeWatches, which kazoo has not. watchers: kazoo's table of them."""

    type = 18
    _DATA = 2

    def serialize(self) -> bytes:
        return bytes(write_string(self.path)) + int_struct.pack(self._DATA)

    def deserialize(self, _bytes: bytes, _offset: int) -> bool:
        # The connection thread, the only one that may change the table's size, runs this.
        if not self.watchers.get(self.path):
            self.watchers.pop(self.path, None)
        return True


class Client(KazooClient):
    """See the module. answer_timeout: for synchronous calls, and for ``retry``."""

    def __init__(self, *, answer_timeout: float = 15.0, **arguments: Any) -> None:
        retry = {"max_tries": -1, "delay": 0.1, "max_delay": 1.0, "deadline": answer_timeout}
        super().__init__(
            handler=Handler(answer_timeout), command_retry=retry, logger=log, **arguments
        )
        self._pid = os.getpid()
        self._asking = threading.RLock()
        self._refused = False
        self.ever_connected = False
        self._zk_loop = self._connection.zk_loop
        self._connection.zk_loop = self._keep_connected
        note_session_timeout(self)
        _clients.add(self)

    @property
    def answer_timeout(self) -> float:
        return float(self.handler.answer_timeout)

    @property
    def pending(self) -> int:
        """Requests that are not answered yet."""
        return len(self._queue) + len(self._pending)

    def start(self, timeout: float = 15) -> None:
        """Returns when there is a connection. Errors: NoAnswer, in that time."""
        if not self.start_async().wait(timeout):
            self.end(wait=False)
            raise NoAnswer("Connection time-out")

    def wait_connected(self, timeout: float) -> bool:
        """Whether there is a connection, now or within so many seconds."""
        return bool(self._live.wait(max(0.0, timeout)))

    def stop(self) -> None:
        if self._pid == os.getpid():
            super().stop()

    def end(self, *, wait: bool = True) -> None:
        """Ends the session and the threads, for END_SECONDS at most; no errors.

        While a server does not answer, that can take longer, and goes on in the background.
        """
        if self._pid != os.getpid():
            return
        thread = threading.Thread(target=self._end, name="zk end", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the interpreter is ending, and starts none
            return self._end()
        if wait:
            thread.join(END_SECONDS)

    def forget(self, path: str) -> None:
        """Has the server drop our watch on the value of a path, and drops it here.

        REQUIRES: nobody asks for the path at this moment.
        """
        if not self._live.is_set():
            return  # kazoo drops watches with the connection
        path = _prefix_root(self.chroot, path)
        watchers = self._data_watchers
        if watchers.get(path):
            watchers[path].clear()
            self._call(_RemoveDataWatch(path, watchers), self.handler.async_result())

    def _call(self, request: Any, async_object: Any) -> Any:
        if problem := self._problem_of(request):
            async_object.set_exception(problem)
            return False
        async_object.until = time.monotonic() + waits.left(self.answer_timeout)
        with self._asking:
            return super()._call(request, async_object)

    def _problem_of(self, request: Any) -> Exception | None:
        """Why the request is not taken."""
        if self._pid != os.getpid():
            return ConnectionClosedError("this client belongs to another process")
        if threading.current_thread() is self._connection._connection_routine:
            raise RuntimeError("a state listener of a ZooKeeper client may not ask it")
        if self._refused and self._state == KeeperState.CLOSED and not self._stopped.is_set():
            return AuthFailedError("the servers refused the login")
        try:
            request.serialize()
        except Exception as error:
            # It says more than the request would, which may have a value that is secret.
            return BadArgumentsError(f"it cannot be sent: {type(error).__name__}: {error}")
        limit = PENDING_MAX if self._live.is_set() else WAITING_MAX
        if self.pending >= limit:
            return ConnectionLoss(f"{limit} requests wait already; this one was not made")
        return None

    def _session_callback(self, state: Any) -> None:
        """The connection thread tells a new state."""
        if state == KeeperState.AUTH_FAILED:
            self._refused = True
        elif state == KeeperState.CONNECTING:
            self._refused = False
        elif state in (KeeperState.CONNECTED, KeeperState.CONNECTED_RO):
            self.ever_connected = True
            self._drop_given_up()
        super()._session_callback(state)

    def _drop_given_up(self) -> None:
        now = time.monotonic()
        with self._asking:
            for _ in range(len(self._queue)):
                request, result = self._queue.popleft()
                if result is not None and (result.given_up or result.until < now):
                    result.set_exception(ConnectionLoss("given up before it was sent"))
                else:
                    self._queue.append((request, result))

    def _keep_connected(self) -> None:
        """What the connection thread runs: kazoo's loop, anew when it ends by itself."""
        pause = _PAUSE_MIN
        while not self._stopped.is_set():
            began = time.monotonic()
            try:
                self._zk_loop()
            except Exception as error:
                if not self._stopped.is_set():
                    log.error("The connection to ZooKeeper ended with %r", error)
            if time.monotonic() - began > _PAUSE_MAX:
                pause = _PAUSE_MIN
            if not self._stopped.wait(pause):
                log.warning("Connecting to ZooKeeper anew, with another session")
            pause = min(2 * pause, _PAUSE_MAX)

    def _end(self) -> None:
        try:
            self.stop()
            self.close()
        except Exception:
            log.debug("cannot close a client", exc_info=True)

    def _forked(self) -> None:
        """In the child: the descriptors are closed here; the connection is the parent's."""
        self._asking = threading.RLock()
        connection = self._connection
        with suppress(AttributeError, OSError):
            os.close(connection._socket.detach())
        if connection._write_sock is not None:
            connection._write_sock.forked()


def note_session_timeout(client: KazooClient) -> KazooClient:
    """Has a client that is not started yet remember what the server makes of its timeout.

    kazoo keeps the number to itself: its connection returns two thirds of it. A ``Client`` does
    so by itself.
    """
    connect: Callable[..., Any] = client._connection._connect

    def noting(*args: Any) -> Any:
        read_timeout, connect_timeout = connect(*args)
        setattr(client, _NEGOTIATED, read_timeout * 1.5)
        return read_timeout, connect_timeout

    client._connection._connect = noting
    return client


def session_timeout(client: KazooClient) -> float:
    """Seconds after which the server gives the session up: what was negotiated, or asked for."""
    asked = client._session_timeout
    return float(getattr(client, _NEGOTIATED, asked)) / 1000.0


def end_all() -> None:
    """End every client of this process, which then has none of their threads and connections.

    For a process that is about to be forked and asks no more: forks make clients of their own.
    """
    for client in list(_clients):
        client.end()


def _after_fork() -> None:
    for client in list(_clients):
        client._forked()


os.register_at_fork(after_in_child=_after_fork)
