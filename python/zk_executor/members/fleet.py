# SPDX-License-Identifier: Apache-2.0
"""The executor's own workers, through the core and the executor's configuration.

Threads: any; blocks up to the timeout of a call. Errors: ZookeeperClusterError.
"""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from zk_executor.cli.controls import NoSuchWorker, choose_worker
from zk_executor.cli.core_calls import CoreCallError, ask_core, executor_settings
from zk_executor.members.member import Member, ZookeeperClusterError

_STATES = {"drain": "draining", "resume": "active"}


def executor_members(team: str | None) -> list[Member]:
    """The live workers."""
    return [
        Member(
            row["worker"],
            row["host"],
            row["slots"],
            tuple(row["queues"]),
            row["state"],
            {key: row[key] for key in ("pid", "running", "version", "started_at", "comment")},
        )
        for row in _ask(team, "inspect_workers")
    ]


def command_worker(team: str | None, verb: str, worker: str, comment: str) -> dict[str, Any]:
    """Drains or resumes one; what is true of it then."""
    try:
        name = choose_worker(_ask(team, "inspect_workers"), worker)
    except NoSuchWorker as error:
        raise ZookeeperClusterError(str(error)) from error
    (outcome,) = _ask(
        team,
        "send_command",
        workers=[name],
        verb=verb,
        comment=comment,
        by="ZookeeperClusterOperator",
    )
    if outcome["problem"] or outcome["state"] != _STATES[verb]:
        raise ZookeeperClusterError(
            f"{name} did not {verb}: {outcome['problem'] or 'it is ' + outcome['state']}"
        )
    return dict(outcome)


def workers_path(team: str | None) -> str:
    """Where the executor's workers are, seen from a connection without a chroot."""
    try:
        settings = executor_settings(_args(team))
    except CoreCallError as error:
        raise ZookeeperClusterError(str(error)) from error
    return f"{settings.root}/{team or 'default'}/workers"


def _args(team: str | None) -> Namespace:
    return Namespace(team=team, hosts=None, root=None)


def _ask(team: str | None, function: str, **arguments: Any) -> Any:
    try:
        return ask_core(_args(team), function, **arguments)
    except CoreCallError as error:
        raise ZookeeperClusterError(str(error)) from error
