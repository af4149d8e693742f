# SPDX-License-Identifier: Apache-2.0
"""Values of znodes, kept in the process while they are asked for, and known to be current.

A value is asked for once; from then on ``get`` answers from memory until a watch says that it has
changed, or the connection was lost; the next ``get`` then asks again. So nothing is asked for but
by somebody who wants the value, in that caller's thread: an outage, a new session or a fork leads
to no burst of requests, however many names are known. While there is no connection the last known
values are served, and the log says so. After a fork the child keeps the values and makes a client
of its own when it is first asked.

What nobody has asked for during FORGET_AFTER seconds is forgotten, here and by the server, and so
are the oldest when there are more than NAMES_MAX names or BYTES_MAX bytes.

Threads: any may call ``get``. kazoo's threads only note what is not current any more. None is
started before the first ``get``.
Errors: ZnodeUnavailable, for a path that was never read while ZooKeeper was there.
Session: makes no difference; an expired one is replaced.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kazoo.exceptions import KazooException, NoNodeError
from kazoo.protocol.states import KazooState

from zk_executor.zk import waits
from zk_executor.zk.client import Client

log = logging.getLogger(__name__)
NAMES_MAX = 10_000
BYTES_MAX = 64_000_000
FORGET_AFTER = 3600.0
_FORGOTTEN_AT_ONCE = 10
_MOMENT = 0.05
_caches: weakref.WeakSet[ZnodeCache] = weakref.WeakSet()


class ZnodeUnavailable(Exception):
    """Nobody answers, and the value was never known."""


@dataclass
class _Known:
    """value: None if there is no such znode. epoch: as of when it is current."""

    value: bytes | None
    epoch: int
    asked: float

    @property
    def size(self) -> int:
        return len(self.value or b"")


@dataclass
class _Reading:
    """A path that somebody reads now; whether a change of it was told meanwhile."""

    readers: int = 0
    changed: bool = False


class ZnodeCache:
    """``make_client`` makes a client that is not started. clock: seconds, of what was asked."""

    def __init__(
        self,
        make_client: Callable[[], Client],
        *,
        patience: float = 5.0,
        names_max: int = NAMES_MAX,
        bytes_max: int = BYTES_MAX,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make_client = make_client
        self._patience = patience
        self._names_max = names_max
        self._bytes_max = bytes_max
        self._clock = clock
        self._lock = threading.RLock()
        self._known: OrderedDict[str, _Known] = OrderedDict()  # asked for last: at the end
        self._size = 0
        self._reading: dict[str, _Reading] = {}
        self._epoch = 0  # another one after each loss of the connection
        self._client: Client | None = None
        self._away = False
        _caches.add(self)

    def __len__(self) -> int:
        """How many names are known."""
        return len(self._known)

    def get(self, path: str) -> bytes | None:
        """The value, or None if there is no such znode. Blocks for ``patience`` at most."""
        with waits.within(self._patience):
            client = self._started()
            with self._lock:
                known = self._known.get(path)
                if known is not None:
                    known.asked = self._clock()
                    self._known.move_to_end(path)
                    if known.epoch == self._epoch:
                        return known.value
            if known is not None and client.ever_connected and not client.connected:
                self._say_away()
                return known.value
            if not client.wait_connected(waits.left(_MOMENT if self._away else self._patience)):
                self._say_away()
                if known is not None:
                    return known.value
                raise ZnodeUnavailable("ZooKeeper does not answer, and it was never read here")
            try:
                return self._read(client, path)
            except KazooException as error:
                if known is not None:
                    log.warning("%s cannot be read (%r): serving its last value", path, error)
                    return known.value
                raise ZnodeUnavailable(f"it cannot be read: {error!r}") from error

    def close(self) -> None:
        """Ends the session; the next ``get`` makes another."""
        with self._lock:
            client, self._client = self._client, None
            self._epoch += 1
        if client is not None:
            client.end()

    def forked(self) -> None:
        """In the child: the parent's client and threads are not here, its values are."""
        self._lock = threading.RLock()
        self._client = None
        self._reading = {}
        self._epoch += 1
        self._away = False

    def _started(self) -> Client:
        with self._lock:
            if self._client is None:
                client = self._client = self._make_client()
                client.add_listener(lambda state: self._on_state(client, state))
                client.start_async()
            return self._client

    def _read(self, client: Client, path: str) -> bytes | None:
        """From ZooKeeper, with a watch."""
        with self._lock:
            reading = self._reading.setdefault(path, _Reading())
            reading.readers += 1
            epoch = self._epoch
        read = False
        try:
            value = self._ask(client, path)
            read = True
        finally:
            # In one step: a change that is told finds the path among those that are read, or known.
            with self._lock:
                reading.readers -= 1
                if not reading.readers:
                    self._reading.pop(path, None)
                if read and client is self._client:
                    epoch = -1 if reading.changed else epoch
                    self._keep(path, _Known(value, epoch, self._clock()))
                    self._forget(client)
        return value

    def _ask(self, client: Client, path: str) -> bytes | None:
        while True:
            try:
                data, _ = client.get(path, watch=self._on_change)
                return data or b""
            except NoNodeError:
                # A watch for its being made; it may have been, just now.
                if client.exists(path, watch=self._on_change) is None:
                    return None

    def _keep(self, path: str, known: _Known) -> None:
        before = self._known.pop(path, None)
        self._size += known.size - (before.size if before else 0)
        self._known[path] = known

    def _forget(self, client: Client) -> None:
        """A few of those that were not asked for in the longest time."""
        for _ in range(_FORGOTTEN_AT_ONCE):
            path, oldest = next(iter(self._known.items()))
            many = len(self._known) > self._names_max or self._size > self._bytes_max
            if not many and self._clock() - oldest.asked < FORGET_AFTER:
                return
            if path in self._reading or len(self._known) == 1:
                return
            del self._known[path]
            self._size -= oldest.size
            # Under the lock, so that whoever asks for it again does so after this.
            client.forget(path)

    def _on_change(self, event: Any) -> None:
        """A watch: kazoo calls it in a thread of its own, with no path after a lost connection."""
        with self._lock:
            if event.path in self._reading:
                self._reading[event.path].changed = True
            if known := self._known.get(event.path):
                known.epoch = -1

    def _on_state(self, client: Client, state: str) -> None:
        """kazoo calls it in its connection thread, which must not be held up."""
        with self._lock:
            if client is not self._client:
                return
            back = state == KazooState.CONNECTED and self._away
            if state != KazooState.CONNECTED:
                self._epoch += 1
            if back:
                self._away = False
            known = len(self._known)
        if back:
            log.warning("ZooKeeper is back: values are read again when they are asked for")
        elif state == KazooState.SUSPENDED and known:
            self._say_away()

    def _say_away(self) -> None:
        with self._lock:
            said, self._away = self._away, True
        if not said:
            log.warning(
                "ZooKeeper does not answer: serving the last known values of connections, "
                "variables and configuration. They may be out of date"
            )


def _after_fork() -> None:
    for cache in list(_caches):
        cache.forked()


os.register_at_fork(after_in_child=_after_fork)
