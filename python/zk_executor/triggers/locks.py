# SPDX-License-Identifier: Apache-2.0
"""Waits in the triggerer for a deferred task's turn at a lock, or at a barrier.

The place in the line is a persistent znode, so that neither the task nor the triggerer has to live
for it. Whoever runs the trigger keeps an ephemeral child below it, and a place without one for
``handover_timeout`` is cleared by who waits behind it.

Threads: the triggerer's loop; one ZooKeeper client for each connection in the process.
Errors: told in the event, {"status": "granted" | "timeout" | "gone" | "error", "message": ...}.
Session: the child is made again in the next one; the turn is kept.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NodeExistsError, NoNodeError, NotEmptyError

from zk_executor.exceptions import ZookeeperError, told
from zk_executor.locks import facts, order
from zk_executor.locks.turn import KEPT, Overdue
from zk_executor.triggers.waiting import AWAY, Changes, answer, connect


class ZookeeperLockTrigger(BaseTrigger):
    """Fires when the place is among those that hold, or among the next ``standby``."""

    def __init__(
        self,
        *,
        conn_id: str,
        path: str,
        place: str,
        leases: int = 1,
        deadline: float | None = None,
        handover_timeout: float = 300.0,
        standby: int = 0,
    ) -> None:
        super().__init__()
        self.conn_id = conn_id
        self.path = path
        self.place = place
        self.leases = leases
        self.deadline = deadline
        self.handover_timeout = handover_timeout
        self.standby = standby
        self._client: KazooClient | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "zk_executor.triggers.locks.ZookeeperLockTrigger",
            {
                "conn_id": self.conn_id,
                "path": self.path,
                "place": self.place,
                "leases": self.leases,
                "deadline": self.deadline,
                "handover_timeout": self.handover_timeout,
                "standby": self.standby,
            },
        )

    @property
    def node(self) -> str:
        return f"{self.path}/{self.place}"

    async def run(self) -> AsyncIterator[TriggerEvent]:
        try:
            client = self._client = await connect(self.conn_id)
            with Changes(client) as changes:
                event = await self._wait(client, changes)
        except (KazooException, ZookeeperError) as error:
            where = f"lock {self.path} (connection {self.conn_id})"
            event = {"status": "error", "message": f"{where}: {told(error)}"}
        yield TriggerEvent(event)

    async def cleanup(self) -> None:
        """The place stays: another triggerer may go on. Only our mark on it goes."""
        await self._delete(f"{self.node}/{KEPT}")

    async def on_kill(self) -> None:
        """Somebody cleared or marked the waiting task: it leaves the line."""
        await self._leave()

    async def _wait(self, client: KazooClient, changes: Changes) -> dict[str, Any]:
        overdue = Overdue(self.handover_timeout)
        me = order.parse(self.place)
        assert me is not None
        synced = False
        while True:
            changes.clear()
            if self.deadline is not None and time.time() >= self.deadline:
                message = await self._too_late(client)
                await self._leave()
                return {"status": "timeout", "message": message}
            try:
                if not synced:
                    # Our server may not have heard yet that the task parked its place.
                    await answer(client.sync_async, self.path)
                    synced = True
                if not await self._keep(client):
                    return {"status": "gone"}
                places = order.in_order(await answer(client.get_children_async, self.path))
                if me not in places:
                    return {"status": "gone"}
                verdict = order.admit(places, me, self.leases, self.standby)
                if verdict.holds:
                    await self._grant(client)
                    return {"status": "granted"}
                stats = [
                    await answer(client.exists_async, f"{self.path}/{name}", watch=changes.watch)
                    for name in verdict.watch
                ]
                if all(stats) and not await changes.wait(self.deadline):
                    await self._clear_overdue(client, verdict, overdue)
            except AWAY:
                await changes.reconnected()
            except NoNodeError:
                return {"status": "gone"}

    async def _keep(self, client: KazooClient) -> bool:
        """Marks the place as looked after, by this session; False if it is gone."""
        kept = f"{self.node}/{KEPT}"
        stat = await answer(client.exists_async, kept)
        session = client.client_id
        if stat is not None:
            if session is not None and stat.ephemeralOwner == session[0]:
                return True
            await self._delete(kept)  # of a triggerer before us
        try:
            await answer(client.create_async, kept, b"", ephemeral=True)
        except NodeExistsError:
            pass
        except NoNodeError:
            return False
        return True

    async def _grant(self, client: KazooClient) -> None:
        data, _ = await answer(client.get_async, self.node)
        said = facts.encode({**facts.decode(data), "state": "granted"})
        # Wakes who is next behind, for whom there may be room too.
        await answer(client.set_async, self.node, said)
        await self._delete(f"{self.node}/{KEPT}")

    async def _clear_overdue(
        self, client: KazooClient, verdict: order.Verdict, overdue: Overdue
    ) -> None:
        for name in verdict.watch:
            place = order.parse(name)
            if place is None or place.where != "d":
                continue
            node = f"{self.path}/{name}"
            stat = await answer(client.exists_async, node)
            if stat and overdue.is_overdue(name, stat.numChildren, stat.pzxid, time.monotonic()):
                self.log.warning("Nobody took over %s in time: clearing it", node)
                await self._delete(node)

    async def _too_late(self, client: KazooClient) -> str:
        message = f"it was not our turn in time at lock {self.path} (connection {self.conn_id})"
        try:
            places = order.in_order(await answer(client.get_children_async, self.path))
            if places and places[0].name != self.place:
                data, _ = await answer(client.get_async, f"{self.path}/{places[0].name}")
                return f"{message}; it is held by {facts.told(facts.decode(data))}"
        except (*AWAY, NoNodeError):
            pass
        return message

    async def _leave(self) -> None:
        await self._delete(f"{self.node}/{KEPT}")
        await self._delete(self.node)

    async def _delete(self, node: str) -> None:
        """No matter if it is gone, or cannot be deleted now: who waits behind will find it."""
        if self._client is None:
            return
        try:
            await answer(self._client.delete_async, node)
        except (*AWAY, NoNodeError, NotEmptyError):
            pass
