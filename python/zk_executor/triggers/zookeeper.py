# SPDX-License-Identifier: Apache-2.0
"""``ZnodeChangedTrigger``: a znode or a configuration changes, and a task or a DAG goes on.

Threads: the triggerer's loop. All triggers of a process with the same connection share a client.
Errors: told in the event ({"status": "error", "message": …}) for a task; for an asset they are
logged, and it is tried again. Session: a lost one makes it look again; of changes that come faster
than they are seen, the last is told.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent
from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NoNodeError

from zk_executor.config.tree import HISTORY
from zk_executor.exceptions import ZookeeperError, check_path, explain
from zk_executor.triggers.waiting import AWAY, Changes, answer, connect
from zk_executor.values import encode, shown, text_of

CONDITIONS = ("changed", "exists", "missing", "equals", "matches")
_EVENT_VALUE_MAX = 10_000
_PAUSE_AFTER_ERROR = 10.0


class ZnodeChangedTrigger(BaseEventTrigger):
    """Fires at each change, or when a condition is true.

    :param path: the znode; with ``tree`` the root of a configuration, which changes once with each
        revision, whatever key it is about.
    :param condition: ``changed`` (made and deleted are changes), ``exists``, ``missing``,
        ``equals`` or ``matches`` ``value`` (a regular expression that the whole text has to match).
    :param since: for ``changed``: the ``mzxid`` that was seen last (0: it was not there). Unless
        given, what is there when the trigger starts; for an asset, what the last event told.
    :param once: end after the first event, as a task needs it. Without it, every change is told,
        as an ``AssetWatcher`` needs it.
    :param with_value: put the value into the event, where Airflow keeps and shows it.

    The event: ``status``, ``path``, ``exists``, ``version``, ``mzxid``, and ``value``.
    """

    def __init__(
        self,
        path: str,
        *,
        conn_id: str = "zookeeper_default",
        condition: str = "changed",
        value: Any = None,
        since: int | None = None,
        tree: bool = False,
        once: bool = False,
        with_value: bool = False,
    ) -> None:
        super().__init__()
        if condition not in CONDITIONS:
            raise ValueError(f"condition is {condition!r}; it is one of {', '.join(CONDITIONS)}")
        if (value is None) == (condition in ("equals", "matches")):
            needs = "needs a" if value is None else "has no"
            raise ValueError(f"condition {condition} {needs} value")
        if condition == "matches":
            re.compile(value or "")
        self.path = check_path(path, conn_id=conn_id)
        if condition == "equals":
            # What set stores for a number is met by the number.
            value = shown(encode(value))
        self.conn_id = conn_id
        self.condition = condition
        self.value = value
        self.since = since
        self.tree = tree
        self.once = once
        self.with_value = with_value
        self._hosts = "?"

    def serialize(self) -> tuple[str, dict[str, Any]]:
        names = ("path", "conn_id", "condition", "value", "since", "tree", "once", "with_value")
        return (
            "zk_executor.triggers.zookeeper.ZnodeChangedTrigger",
            {name: getattr(self, name) for name in names},
        )

    @property
    def node(self) -> str:
        """What is watched."""
        base = "" if self.path == "/" else self.path
        return f"{base}/{HISTORY}" if self.tree else self.path

    async def run(self) -> AsyncIterator[TriggerEvent]:
        since = await self._last_told()
        while True:
            try:
                client = await connect(self.conn_id)
                self._hosts = ",".join(f"{host}:{port}" for host, port in client.hosts)
                with Changes(client) as changes:
                    while True:
                        event = await self._next(client, changes, since)
                        since = event["mzxid"]
                        yield TriggerEvent(event)
                        await self._remember(since)
                        if self.once:
                            return
            except (KazooException, ZookeeperError) as error:
                message = str(self._explained(error))
                if self.once:
                    yield TriggerEvent({"status": "error", "message": message})
                    return
                self.log.error("%s; trying again", message)
                await asyncio.sleep(_PAUSE_AFTER_ERROR)

    async def _next(
        self, client: KazooClient, changes: Changes, since: int | None
    ) -> dict[str, Any]:
        """The next event; ``since`` as the parameter."""
        while True:
            changes.clear()
            try:
                data, stat = await self._look(client, changes)
                now = stat.mzxid if stat else 0
                if self._is_true(data, now, since):
                    return self._event(data, stat)
                if since is None:
                    await self._remember(now)
                if since is None or self.condition != "changed":
                    since = now
                await changes.wait()
            except AWAY:
                await changes.reconnected()

    async def _look(self, client: KazooClient, changes: Changes) -> tuple[bytes | None, Any]:
        while True:
            try:
                data, stat = await answer(client.get_async, self.node, watch=changes.watch)
                return data or b"", stat
            except NoNodeError:
                # A watch for its being made; it may have been, just now.
                if await answer(client.exists_async, self.node, watch=changes.watch) is None:
                    return None, None

    def _is_true(self, data: bytes | None, now: int, since: int | None) -> bool:
        if self.condition == "changed":
            return since is not None and now != since
        if now == since and not self.once:
            return False  # told already
        if self.condition in ("exists", "missing"):
            return (data is None) == (self.condition == "missing")
        return is_met(self.condition, self.value, data)

    def _event(self, data: bytes | None, stat: Any) -> dict[str, Any]:
        event = {
            "status": "success",
            "path": self.path,
            "exists": stat is not None,
            "version": stat.version if stat else None,
            "mzxid": stat.mzxid if stat else 0,
        }
        if self.with_value and (data is None or len(data) <= _EVENT_VALUE_MAX):
            event["value"] = shown(data)
        return event

    def _explained(self, error: BaseException) -> ZookeeperError:
        return explain(
            error, conn_id=self.conn_id, hosts=self._hosts, path=self.node, doing="watch"
        )

    @property
    def _told_key(self) -> str:
        what = f"{self.conn_id} {self.node} {self.condition} {self.value}"
        return f"zookeeper_mzxid_{hashlib.sha1(what.encode()).hexdigest()}"

    async def _last_told(self) -> int | None:
        """For an asset: a change while no triggerer ran is told, too."""
        if self.since is not None or self.asset_state_store is None:
            return self.since
        try:
            told = await self.asset_state_store.aget(self._told_key)
            return None if told is None else int(str(told))
        except Exception as error:
            self.log.warning("cannot read what was told last, beginning now: %r", error)
            return None

    async def _remember(self, mzxid: int) -> None:
        if self.asset_state_store is None:
            return
        try:
            await self.asset_state_store.aset(self._told_key, mzxid)
        except Exception as error:
            self.log.warning("cannot keep what was told last: %r", error)


def is_met(condition: str, value: Any, data: bytes | None) -> bool:
    """Of ``equals`` and ``matches``: whether the value is what is asked for.

    ``equals`` compares what values.py shows; a value that is no text matches nothing.
    """
    if data is None or value is None:
        return False
    if condition == "equals":
        return bool(shown(data) == value)
    text = text_of(data)
    return text is not None and re.fullmatch(value, text) is not None
