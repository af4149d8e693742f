# SPDX-License-Identifier: Apache-2.0
"""``ZookeeperClusterSensor``: waits for members of a group, deferred.

Errors: ZookeeperClusterError; ZookeeperLockTimeout's like is Airflow's own timeout of sensors.
Session: members whose sessions end are gone; the sensor's own makes no difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseSensorOperator
from kazoo.exceptions import KazooException

from zk_executor.exceptions import explain_client
from zk_executor.locks.sessions import close_client, open_client
from zk_executor.members.fleet import workers_path
from zk_executor.members.member import ZookeeperClusterError, group_path
from zk_executor.operators.cluster import WORKERS
from zk_executor.triggers.cluster import ZookeeperMembersTrigger, is_met

if TYPE_CHECKING:
    from airflow.sdk import Context


class ZookeeperClusterSensor(BaseSensorOperator):
    """Succeeds when it is so, and returns the names of the members then.

    :param at_least: so many members are there.
    :param member: that one is there (by its name, or a worker's without its incarnation's suffix);
        with ``present=False``: it is gone.
    :param group: a group of ``zk_executor.members``, or ``workers``, the executor's own, if the
        connection leads to the executor's ensemble and has no chroot.
    """

    template_fields: Sequence[str] = ("group", "member", "zookeeper_conn_id")
    ui_color: ClassVar[str] = "#d8e6f0"

    def __init__(
        self,
        *,
        group: str = WORKERS,
        at_least: int | None = None,
        member: str | None = None,
        present: bool = True,
        zookeeper_conn_id: str = "zookeeper_default",
        team: str | None = None,
        deferrable: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (at_least is None) == (member is None):
            raise ZookeeperClusterError("name one: at_least or member")
        if at_least is not None and (type(at_least) is not int or at_least < 0):
            raise ZookeeperClusterError(
                f"at_least is {at_least!r}; it must be a whole number from 0"
            )
        # A member was asked for; rendered to nothing it must not become another condition.
        self._by_member = member is not None
        self.group = group
        self.at_least = at_least
        self.member = member
        self.present = present
        self.zookeeper_conn_id = zookeeper_conn_id
        self.team = team
        self.deferrable = deferrable

    @property
    def path(self) -> str:
        return workers_path(self.team) if self.group == WORKERS else group_path(self.group)

    def poke(self, context: Context) -> bool:
        return self._met() is not None

    def _met(self) -> list[str] | None:
        """The members' names if it is so."""
        if self._by_member and (not isinstance(self.member, str) or self.member in ("", "None")):
            raise ZookeeperClusterError(
                f"group {self.group} (connection {self.zookeeper_conn_id}): member is "
                f"{self.member!r}; what should have given it was not there"
            )
        client = open_client(self.zookeeper_conn_id)
        try:
            client.ensure_path(self.path)
            names = client.get_children(self.path)
        except KazooException as error:
            explained = explain_client(
                error, client, conn_id=self.zookeeper_conn_id, path=self.path, doing="list"
            )
            raise ZookeeperClusterError(str(explained)) from error
        finally:
            close_client(client)
        met = is_met(names, self.at_least, self.member, self.present)
        return sorted(names) if met else None

    def execute(self, context: Context) -> Any:
        if not self.deferrable:
            return super().execute(context)
        # No deferral for what is so already: besides the time, Airflow's scheduler may take a task
        # whose trigger fires at once for one that its executor lost.
        if (names := self._met()) is not None:
            return names
        self.defer(
            trigger=ZookeeperMembersTrigger(
                conn_id=self.zookeeper_conn_id,
                path=self.path,
                at_least=self.at_least,
                member=self.member,
                present=self.present,
            ),
            method_name="execute_complete",
            timeout=self.timeout and _timedelta(self.timeout),
        )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> list[str]:
        """Back from the trigger."""
        if event.get("status") != "met":
            raise ZookeeperClusterError(str(event.get("message")))
        return list(event["members"])


def _timedelta(seconds: Any) -> Any:
    from datetime import timedelta

    return seconds if isinstance(seconds, timedelta) else timedelta(seconds=float(seconds))
