# SPDX-License-Identifier: Apache-2.0
"""Values of znodes, kept in the process and kept current by watches.

A value is asked for once; from then on ``get`` answers from memory, and a watch brings what is
new. While there is no connection the last known values are served, and the log says so. After a
fork the child keeps the values and makes a client of its own when it is first asked.

Threads: any may call ``get``. kazoo's threads bring what is new; they only touch the table, under
its lock. None is started before the first ``get``.
Errors: ZnodeUnavailable, for a path that was never read while ZooKeeper was there.
Session: an expired one is replaced; every known path is then read again.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NoNodeError
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.protocol.states import KazooState

log = logging.getLogger(__name__)
_MOMENT = 0.05
_caches: weakref.WeakSet[ZnodeCache] = weakref.WeakSet()


class ZnodeUnavailable(Exception):
    """Nobody answers, and the value was never known."""


class ZnodeCache:
    """``make_client`` makes a client that is not started."""

    def __init__(self, make_client: Callable[[], KazooClient], *, patience: float = 5.0) -> None:
        self._make_client = make_client
        self._patience = patience
        self._values: dict[str, bytes | None] = {}
        self._lock = threading.RLock()
        self._client: KazooClient | None = None
        self._pid = 0
        self._connected = threading.Event()
        self._was_connected = False  # since this client was started
        self._current: set[str] = set()
        self._watches: dict[str, Callable[[Any], None]] = {}
        self._away = False
        _caches.add(self)

    def get(self, path: str) -> bytes | None:
        """The value, or None if there is no such znode. Blocks for a path's first time only."""
        client = self._started()
        with self._lock:
            known = path in self._values
            if path in self._current:
                return self._values[path]
            if known and self._was_connected and not self._connected.is_set():
                self._say_away()
                return self._values[path]
        if not self._connected.wait(_MOMENT if self._away else self._patience):
            self._say_away()
            if known:
                return self._values[path]
            raise ZnodeUnavailable(f"ZooKeeper does not answer, and {path} was never read here")
        try:
            self._ask(client, path).wait(self._patience)
        except (KazooException, KazooTimeoutError) as error:
            if known:
                log.warning("%s cannot be read (%r): serving its last known value", path, error)
                return self._values[path]
            raise ZnodeUnavailable(f"{path} cannot be read: {error!r}") from error
        with self._lock:
            if path in self._values:
                return self._values[path]
        raise ZnodeUnavailable(f"{path} cannot be read in {self._patience:g} s")

    def close(self) -> None:
        """Ends the session; the next ``get`` makes another."""
        with self._lock:
            client, self._client = self._client, None
            mine = self._pid == os.getpid()
            self._current.clear()
            self._connected.clear()
        if client is not None and mine:
            client.stop()
            client.close()

    def forked(self) -> None:
        """In the child: the parent's client and threads are not here, its values are."""
        client, self._client = self._client, None
        self._lock = threading.RLock()
        self._connected = threading.Event()
        self._was_connected = False
        self._current = set()
        self._away = False
        if client is not None:
            _drop_socket(client)

    def _started(self) -> KazooClient:
        with self._lock:
            if self._client is None or self._pid != os.getpid():
                client = self._make_client()
                self._client, self._pid = client, os.getpid()
                self._was_connected = False
                self._watches = {}
                client.add_listener(lambda state: self._on_state(client, state))
                client.start_async()
            return self._client

    def _on_state(self, client: KazooClient, state: str) -> None:
        with self._lock:
            if client is not self._client:
                return
            if state != KazooState.CONNECTED:
                self._connected.clear()
                self._current.clear()
                if state == KazooState.SUSPENDED and self._values:
                    self._say_away()
                return
            self._was_connected = True
            self._connected.set()
            if self._away:
                self._away = False
                log.warning("ZooKeeper is back: reading %d values again", len(self._values))
            known = list(self._values)
        for path in known:
            self._ask(client, path)

    def _say_away(self) -> None:
        if not self._away:
            self._away = True
            log.warning(
                "ZooKeeper does not answer: serving the last known values of connections, "
                "variables and configuration. They may be out of date"
            )

    def _ask(self, client: KazooClient, path: str) -> _Answer:
        """Reads the path with a watch; what comes goes into the table."""
        answer = _Answer()
        watch = self._watch(client, path)

        def got(result: Any) -> None:
            try:
                data, _ = result.get(block=False)
            except NoNodeError:
                client.exists_async(path, watch=watch).rawlink(missing)
            except Exception as error:
                answer.failed(error)
            else:
                self._keep(client, path, data or b"")
                answer.done()

        def missing(result: Any) -> None:
            try:
                stat = result.get(block=False)
            except Exception as error:
                answer.failed(error)
                return
            if stat is not None:  # made meanwhile
                client.get_async(path, watch=watch).rawlink(got)
                return
            self._keep(client, path, None)
            answer.done()

        client.get_async(path, watch=watch).rawlink(got)
        return answer

    def _watch(self, client: KazooClient, path: str) -> Callable[[Any], None]:
        """The same for each read of a path: kazoo then calls it once for a change."""

        def watch(_: Any) -> None:
            with self._lock:
                if client is not self._client or not self._connected.is_set():
                    return  # read again when there is a connection
            self._ask(client, path)

        with self._lock:
            return self._watches.setdefault(path, watch)

    def _keep(self, client: KazooClient, path: str, value: bytes | None) -> None:
        with self._lock:
            if client is self._client:
                self._values[path] = value
                if self._connected.is_set():
                    self._current.add(path)


class _Answer:
    """That a read has ended."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._error: Exception | None = None

    def done(self) -> None:
        self._event.set()

    def failed(self, error: Exception) -> None:
        self._error = error
        self._event.set()

    def wait(self, timeout: float) -> None:
        self._event.wait(timeout)
        if self._error is not None:
            raise self._error


def _drop_socket(client: KazooClient) -> None:
    """Closes the child's descriptor of the parent's connection; the connection stays."""
    try:
        sock = client._connection._socket
        if sock is not None:
            os.close(sock.detach())
    except (AttributeError, OSError):
        pass


def _after_fork() -> None:
    for cache in list(_caches):
        cache.forked()


os.register_at_fork(after_in_child=_after_fork)
