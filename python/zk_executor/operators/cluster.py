# SPDX-License-Identifier: Apache-2.0
"""``ZookeeperClusterOperator``: who is there, what belongs to whom, and who is to do it.

Errors: ZookeeperClusterError. Session: nothing that it leaves behind is ephemeral.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.sdk import BaseOperator
from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NodeExistsError

from zk_executor.exceptions import ZookeeperInvalidValue, explain_client
from zk_executor.locks import facts
from zk_executor.locks.lock import check_path
from zk_executor.locks.sessions import close_client, open_client
from zk_executor.members.fleet import command_worker, executor_members
from zk_executor.members.member import (
    Member,
    ZookeeperClusterError,
    distribution,
    nodes_for_ring,
)
from zk_executor.members.watch import list_members
from zk_executor.operators import arguments
from zk_executor.values import utf8

if TYPE_CHECKING:
    from airflow.sdk import Context

Action = Literal["members", "route", "distribution", "drain", "resume", "elect"]
WORKERS = "workers"


class ZookeeperClusterOperator(BaseOperator):
    """What it returns, by action:

    :param action: ``members``: a list of mappings with name, host, slots, queues, state, facts;
        ``route``: for each of ``keys`` the ``count`` nodes that it belongs to, the owner first, on
        the executor's own ring; ``distribution``: a row for each node, how many of ``keys`` it
        owns and how that compares to its share by slots; ``drain``, ``resume``: of the executor's
        ``worker``, what is true of it afterwards; ``elect``: runs ``python_callable`` in exactly
        one of the tasks that ask with the same ``path`` and ``key``, and returns ``elected`` and
        its ``result`` (the elected one stays elected in its retries).
    :param keys: a list of texts or numbers, or the JSON text of one.
    :param group: a group of ``zk_executor.members``, or ``workers``, the executor's own.
    :param serving: a queue; only members that serve it get keys.
    :param key: of the election; the DAG run unless given.
    :param team: of the executor, for ``workers``.
    """

    template_fields: Sequence[str] = (
        "group",
        "keys",
        "serving",
        "worker",
        "comment",
        "path",
        "key",
        "op_kwargs",
        "zookeeper_conn_id",
    )
    ui_color: ClassVar[str] = "#d8e6f0"
    shallow_copy_attrs: Sequence[str] = ("python_callable",)

    def __init__(
        self,
        *,
        action: Action,
        group: str = WORKERS,
        keys: Sequence[str] | str = (),
        count: int = 1,
        serving: str | None = None,
        worker: str | None = None,
        comment: str = "",
        path: str | None = None,
        key: str | None = None,
        python_callable: Callable[..., Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        zookeeper_conn_id: str = "zookeeper_default",
        team: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.action = action
        self.group = group
        self.keys = keys
        self.count = count
        self.serving = serving
        self.worker = worker
        self.comment = comment
        self.path = path
        self.key = key
        self.python_callable = python_callable
        self.op_kwargs = op_kwargs or {}
        self.zookeeper_conn_id = zookeeper_conn_id
        self.team = team

    def execute(self, context: Context) -> Any:
        if self.action == "members":
            return [asdict(member) | {"queues": list(member.queues)} for member in self._members()]
        if self.action == "route":
            return self._route(self.count)
        if self.action == "distribution":
            nodes = nodes_for_ring(self._members(), self.serving)
            owners = [prefers[0] for prefers in self._route(1, nodes).values() if prefers]
            return distribution(owners, nodes)
        if self.action in ("drain", "resume"):
            if not self.worker:
                raise ZookeeperClusterError(f"action {self.action} needs a worker")
            return command_worker(self.team, self.action, self.worker, self.comment)
        if self.action == "elect":
            return self._elect(context)
        raise ZookeeperClusterError(f"{self.action!r} is no action of {type(self).__name__}")

    def _members(self) -> list[Member]:
        if self.group == WORKERS:
            return executor_members(self.team)
        return self._with_client(lambda client: list(list_members(client, self.group).values()))

    def _route(
        self, count: int, nodes: list[tuple[str, int]] | None = None
    ) -> dict[str, list[str]]:
        from zk_executor import _core

        given = arguments.items("keys", self.keys, self._refuse)
        if not all(isinstance(key, str) or type(key) is int for key in given):
            raise self._refuse("keys must be texts or whole numbers")
        if type(count) is not int or count < 1:
            raise self._refuse(f"count is {count!r}; it must be a whole number from 1")
        keys = [str(key) for key in given]
        try:
            for key in keys:
                utf8(key)
        except ZookeeperInvalidValue as error:
            raise self._refuse(f"keys: {error}") from None
        nodes = nodes_for_ring(self._members(), self.serving) if nodes is None else nodes
        try:
            found = _core.ring_preference(nodes=nodes, keys=keys, count=count)
        except ValueError as error:
            raise self._refuse(str(error)) from None
        return dict(zip(keys, found, strict=True))

    def _elect(self, context: Context) -> dict[str, Any]:
        function = self.python_callable
        if function is None or self.path is None:
            raise ZookeeperClusterError("action elect needs a path and a python_callable")
        check_path(self.path, "election", self.zookeeper_conn_id)
        task = facts.task_facts()
        key = self.key or f"{task.get('dag_id')}/{task.get('run_id')}"
        mine = {"owner": facts.owner_id(task), "key": key, **task, **facts.process_facts()}
        winner = self._with_client(lambda client: self._stand(client, mine))
        elected = winner.get("owner") == mine["owner"]
        self.log.info("Elected for %s at %s: %s", key, self.path, facts.told(winner))
        return {
            "elected": elected,
            "by": facts.told(winner),
            "result": function(**self.op_kwargs) if elected else None,
        }

    def _stand(self, client: KazooClient, mine: dict[str, Any]) -> dict[str, Any]:
        """Who is elected: whoever made the node first, for good."""
        node = f"{self.path}/{hashlib.sha256(mine['key'].encode()).hexdigest()[:16]}"
        # Perhaps made by us, with the reply lost: the content tells.
        with suppress(NodeExistsError):
            client.retry(client.create, node, facts.encode(mine), makepath=True)
        return facts.decode(client.retry(client.get, node)[0])

    def _refuse(self, problem: str) -> ZookeeperClusterError:
        return ZookeeperClusterError(
            f"{self.action} of {self.path or self.group} (connection {self.zookeeper_conn_id}): "
            f"{problem}"
        )

    def _with_client(self, use: Callable[[KazooClient], Any]) -> Any:
        client = open_client(self.zookeeper_conn_id)
        try:
            return use(client)
        except KazooException as error:
            explained = explain_client(
                error,
                client,
                conn_id=self.zookeeper_conn_id,
                path=self.path or self.group,
                doing=self.action,
            )
            raise ZookeeperClusterError(str(explained)) from error
        finally:
            close_client(client)
