# SPDX-License-Identifier: Apache-2.0
"""kazoo's threads and a trigger's event loop: waiting for a result, and for a change.

Threads: what is here is called in the loop's thread; kazoo's callbacks only post to the loop.
Session: a lost connection wakes, so that whoever waits looks again when it is back.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import (
    ConnectionClosedError,
    ConnectionLoss,
    OperationTimeoutError,
    SessionExpiredError,
)

from zk_executor.locks.sessions import shared_client

AWAY = (ConnectionLoss, SessionExpiredError, OperationTimeoutError, ConnectionClosedError)
RECHECK = 60.0


async def connect(conn_id: str) -> KazooClient:
    """The client that this process shares for the connection."""
    return await asyncio.to_thread(shared_client, conn_id)


async def answer(result: Any) -> Any:
    """The result of one of kazoo's asynchronous calls, or its exception."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def done() -> None:
        if not future.done():
            future.set_result(None)

    def post(_: Any) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(done)

    result.rawlink(post)
    await future
    return result.get(block=False)


class Changes:
    """Wakes when a watched znode or the state of the connection has changed. ``with`` it."""

    def __init__(self, client: KazooClient) -> None:
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    def __enter__(self) -> Changes:
        self._client.add_listener(self._on_state)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.remove_listener(self._on_state)

    def clear(self) -> None:
        self._event.set()
        self._event.clear()

    async def wait(self, deadline: float | None = None) -> bool:
        """Until a change, a minute at most or the deadline (time.time()); whether one came."""
        left = RECHECK if deadline is None else min(RECHECK, max(0.0, deadline - time.time()))
        try:
            await asyncio.wait_for(self._event.wait(), left)
        except TimeoutError:
            return False
        return True

    async def reconnected(self) -> None:
        """After ConnectionLoss and its kind: until there is a connection, or for a moment."""
        if not self._client.connected:
            self._event.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._event.wait(), 1.0)

    def watch(self, _: Any) -> None:
        """To be given to kazoo as a watch."""
        self._post()

    def _on_state(self, _: Any) -> None:
        self._post()

    def _post(self) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._event.set)
