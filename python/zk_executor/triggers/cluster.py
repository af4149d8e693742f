# SPDX-License-Identifier: Apache-2.0
"""Waits in the triggerer for members of a group.

Threads: the triggerer's loop. Errors: told in the event. Session: it looks again in the next one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from kazoo.exceptions import KazooException, NoNodeError

from zk_executor.exceptions import ZookeeperError, told
from zk_executor.triggers.waiting import AWAY, Changes, answer, connect


def is_met(names: Sequence[str], at_least: int | None, member: str | None, present: bool) -> bool:
    """Whether these members are what is waited for."""
    if member is None:
        return len(names) >= (at_least or 0)
    there = any(member in (name, name.rpartition("-")[0]) for name in names)
    return there == present


class ZookeeperMembersTrigger(BaseTrigger):
    """Fires when at least so many are there, or when a given one is there, or gone."""

    def __init__(
        self,
        *,
        conn_id: str,
        path: str,
        at_least: int | None = None,
        member: str | None = None,
        present: bool = True,
    ) -> None:
        super().__init__()
        self.conn_id = conn_id
        self.path = path
        self.at_least = at_least
        self.member = member
        self.present = present

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "zk_executor.triggers.cluster.ZookeeperMembersTrigger",
            {
                "conn_id": self.conn_id,
                "path": self.path,
                "at_least": self.at_least,
                "member": self.member,
                "present": self.present,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        try:
            yield TriggerEvent({"status": "met", "members": await self._wait()})
        except (KazooException, ZookeeperError) as error:
            where = f"members of {self.path} (connection {self.conn_id})"
            yield TriggerEvent({"status": "error", "message": f"{where}: {told(error)}"})

    async def _wait(self) -> list[str]:
        client = await connect(self.conn_id)
        with Changes(client) as changes:
            while True:
                changes.clear()
                try:
                    names = await answer(client.get_children_async, self.path, changes.watch)
                    if is_met(names, self.at_least, self.member, self.present):
                        return sorted(names)
                    await changes.wait()
                except NoNodeError:
                    # Read again at the next round; away at this moment is away as before.
                    with suppress(*AWAY):
                        await answer(client.ensure_path_async, self.path)
                except AWAY:
                    await changes.reconnected()
