# SPDX-License-Identifier: Apache-2.0
"""Waits in the triggerer until a barrier's round is open.

Threads: the triggerer's loop. Errors: told in the event, {"status": "open" | "timeout" | "error"}.
Session: the deferred party's node is persistent, so nothing is lost with one.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from kazoo.exceptions import KazooException, NodeExistsError, NoNodeError

from zk_executor.exceptions import ZookeeperError, told
from zk_executor.locks.barrier import RENEWED_AFTER
from zk_executor.triggers.waiting import AWAY, Changes, answer, connect


class ZookeeperBarrierTrigger(BaseTrigger):
    """Fires when all parties have come, or when they have not in time."""

    def __init__(
        self,
        *,
        conn_id: str,
        round_path: str,
        owner: str,
        parties: int,
        deadline: float | None = None,
    ) -> None:
        super().__init__()
        self.conn_id = conn_id
        self.round_path = round_path
        self.owner = owner
        self.parties = parties
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "zk_executor.triggers.barrier.ZookeeperBarrierTrigger",
            {
                "conn_id": self.conn_id,
                "round_path": self.round_path,
                "owner": self.owner,
                "parties": self.parties,
                "deadline": self.deadline,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        try:
            event = await self._wait()
        except (KazooException, ZookeeperError) as error:
            event = {"status": "error", "message": f"{self._where}: {told(error)}"}
        yield TriggerEvent(event)

    async def on_kill(self) -> None:
        """Somebody cleared or marked the waiting task: it has not come."""
        await self._leave(await connect(self.conn_id))

    @property
    def _where(self) -> str:
        return f"barrier {self.round_path} (connection {self.conn_id})"

    async def _wait(self) -> dict[str, Any]:
        client = await connect(self.conn_id)
        opened = f"{self.round_path}/open"
        renewed = time.monotonic() - RENEWED_AFTER
        with Changes(client) as changes:
            while True:
                changes.clear()
                try:
                    if await answer(client.exists_async, opened, watch=changes.watch):
                        return {"status": "open"}
                    parties = f"{self.round_path}/parties"
                    here = await answer(client.get_children_async, parties)
                    if len(here) >= self.parties:
                        await self._open(client, opened)
                        return {"status": "open"}
                    if self.deadline is not None and time.time() >= self.deadline:
                        await self._leave(client)
                        came = f"only {len(here)} of {self.parties} parties came in time"
                        return {"status": "timeout", "message": f"{self._where}: {came}"}
                    changed = await changes.wait(self.deadline)
                    if not changed and time.monotonic() - renewed >= RENEWED_AFTER:
                        await self._renew(client)
                        renewed = time.monotonic()
                except AWAY:
                    await changes.reconnected()
                except NoNodeError:
                    return {"status": "error", "message": f"{self._where}: it was deleted"}

    async def _renew(self, client: Any) -> None:
        """Shows that somebody still waits, so that the round is not swept."""
        party = f"{self.round_path}/parties/{self.owner}"
        data, _ = await answer(client.get_async, party)
        await answer(client.set_async, party, data)

    async def _open(self, client: Any, opened: str) -> None:
        with suppress(NodeExistsError):
            await answer(client.create_async, opened)

    async def _leave(self, client: Any) -> None:
        try:
            await answer(client.delete_async, f"{self.round_path}/parties/{self.owner}")
        except (*AWAY, NoNodeError):
            pass
