# SPDX-License-Identifier: Apache-2.0
"""kazoo's threads and a trigger's event loop: waiting for a connection, a result, and a change.

However many triggers share a client, ``waits.AT_ONCE`` of their requests are under way at once,
and none while there is no connection: the others wait in the loop, which goes on.

Threads: what is here is called in the loop's thread; kazoo's callbacks only post to the loop.
Session: a lost connection wakes, so that whoever waits looks again when it is back.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import (
    ConnectionClosedError,
    ConnectionLoss,
    OperationTimeoutError,
    SessionExpiredError,
)

from zk_executor.locks.sessions import Started, drop_unreachable, started_client, unreachable
from zk_executor.zk.client import Client
from zk_executor.zk.handler import NoAnswer
from zk_executor.zk.waits import AT_ONCE

AWAY = (ConnectionLoss, SessionExpiredError, OperationTimeoutError, ConnectionClosedError)
RECHECK = 60.0

Loop = asyncio.AbstractEventLoop
_turns: weakref.WeakKeyDictionary[Client, tuple[Loop, asyncio.Semaphore]] = (
    weakref.WeakKeyDictionary()
)
_starting: weakref.WeakKeyDictionary[Loop, dict[str, asyncio.Task[Started]]] = (
    weakref.WeakKeyDictionary()
)


async def connect(conn_id: str) -> Client:
    """The client that this process shares for the connection.

    Waits for its first connection, for ``connect_timeout``. Errors: those of the hook.
    """
    hook, client = await asyncio.shield(_started(conn_id))
    if not client.ever_connected:
        with Changes(client) as changes, suppress(asyncio.TimeoutError):
            await asyncio.wait_for(changes.connected(), hook.login.connect_timeout)
        if not client.ever_connected:
            drop_unreachable(conn_id, client)
            raise unreachable(hook)
    return client


def _started(conn_id: str) -> asyncio.Task[Started]:
    """One thread asks Airflow for the connection, and not one for each trigger."""
    loop = asyncio.get_running_loop()
    tasks = _starting.setdefault(loop, {})
    task = tasks.get(conn_id)
    if task is None:
        task = tasks[conn_id] = loop.create_task(asyncio.to_thread(started_client, conn_id))
        task.add_done_callback(lambda _: tasks.pop(conn_id, None))
    return task


async def answer(ask: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What one of a client's asynchronous calls returns, ``answer(client.get_async, path)``.

    Errors: its exception; ConnectionLoss at once while there is no connection; NoAnswer.
    """
    client: Client = ask.__self__  # type: ignore[attr-defined]
    async with _turn(client):
        if not client.connected:
            raise ConnectionLoss("there is no connection")
        return await _answer_of(ask(*args, **kwargs), client.answer_timeout)


def _turn(client: Client) -> asyncio.Semaphore:
    loop = asyncio.get_running_loop()
    found = _turns.get(client)
    if found is None or found[0] is not loop:
        found = _turns[client] = (loop, asyncio.Semaphore(AT_ONCE))
    return found[1]


async def _answer_of(result: Any, timeout: float) -> Any:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def done() -> None:
        if not future.done():
            future.set_result(None)

    def post(_: Any) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(done)

    result.rawlink(post)
    try:
        await asyncio.wait_for(future, timeout)
    except asyncio.TimeoutError:
        raise NoAnswer(f"no answer in {timeout:g} s") from None
    finally:
        result.given_up = not result.ready()
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
        except asyncio.TimeoutError:
            return False
        return True

    async def reconnected(self) -> None:
        """After ConnectionLoss and its kind: until there is a connection, or for a moment."""
        self._event.clear()
        with suppress(asyncio.TimeoutError):
            if not self._client.connected:
                await asyncio.wait_for(self._event.wait(), 1.0)
            else:
                await asyncio.sleep(0.1)

    async def connected(self) -> None:
        """Until there is a connection."""
        while not self._client.connected:
            await self.reconnected()

    def watch(self, _: Any) -> None:
        """To be given to kazoo as a watch."""
        self._post()

    def _on_state(self, _: Any) -> None:
        self._post()

    def _post(self) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._event.set)
