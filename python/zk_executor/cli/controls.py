# SPDX-License-Identifier: Apache-2.0
"""What the ``airflow zk`` commands that change something do. None needs the database.

Each prints one line for each worker: what is true now. Exit codes: 0 it is so, 1 it is not, 2
wrong usage or configuration.
"""

from __future__ import annotations

import getpass
import re
import socket
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from airflow.utils import cli as cli_utils
from airflow.utils.providers_configuration_loader import providers_configuration_loaded

from zk_executor.cli.core_calls import call_core, exit_with
from zk_executor.cli.rows import print_rows
from zk_executor.placing import task_label_around_try

_COMMENT_BYTES_MAX = 1000
_QUEUE_BYTES_MAX = 256
_DISPATCH = re.compile(r"[A-Za-z0-9_-]{1,128}\Z")

Row = Mapping[str, Any]


@cli_utils.action_cli(check_db=False)
@providers_configuration_loaded
def drain(args: Namespace) -> None:
    """Nothing new for a worker."""
    _order(args, "drain", lambda row: row["state"] == "draining", comment=_comment(args))


@cli_utils.action_cli(check_db=False)
@providers_configuration_loaded
def maintenance(args: Namespace) -> None:
    """Nothing new for a worker, and a comment that says why."""
    _order(args, "maintenance", lambda row: row["state"] == "maintenance", comment=_comment(args))


@cli_utils.action_cli(check_db=False)
@providers_configuration_loaded
def resume(args: Namespace) -> None:
    """The end of both."""
    _order(args, "resume", lambda row: row["state"] == "active")


@cli_utils.action_cli(check_db=False)
@providers_configuration_loaded
def concurrency(args: Namespace) -> None:
    """Sets a worker's slots."""
    _order(args, "concurrency", lambda row: row["slots"] == args.slots, slots=args.slots)


@cli_utils.action_cli(check_db=False)
@providers_configuration_loaded
def queues_add(args: Namespace) -> None:
    """More queues for a worker."""
    names = _queue_names(args)
    _order(args, "queues_add", lambda row: set(names) <= set(row["queues"]), queues=names)


@cli_utils.action_cli(check_db=False)
@providers_configuration_loaded
def queues_remove(args: Namespace) -> None:
    """Fewer queues for a worker."""
    names = _queue_names(args)
    _order(args, "queues_remove", lambda row: not set(names) & set(row["queues"]), queues=names)


@cli_utils.action_cli(check_db=False)
@providers_configuration_loaded
def kill(args: Namespace) -> None:
    """Ends a running dispatch."""
    if (args.dispatch is None) == (args.ti is None):
        exit_with(2, "name one: a dispatch id, or --ti DAG_ID TASK_ID RUN_ID")
    if args.dispatch is not None and not _DISPATCH.match(args.dispatch):
        exit_with(2, f"{args.dispatch!r} is not a dispatch id; to name a task instance: --ti")
    if args.ti is None:
        what = f"dispatch {args.dispatch}"
        target = {"dispatch_id": args.dispatch}
    else:
        head, tail = task_label_around_try(*args.ti, args.map_index)
        what = f"task instance {head}(any try){tail}"
        target = {"label_head": head, "label_tail": tail}
    outcome, found = call_core(args, "kill_dispatch", timeout_ms=_timeout_ms(args), **target)
    if args.output:
        print_rows([{**row, "outcome": outcome} for row in found], args.output)
    told = "; ".join(f"{row['dispatch_id']} ({row['label']})" for row in found) or what
    workers = ", ".join(row["worker"] for row in found)
    if outcome == "ended":
        if not args.output:
            print(f"{told} has ended on {workers}.")
        return
    exit_with(1, _why_not_killed(outcome, told, workers, found, args.timeout))


def _why_not_killed(
    outcome: str, told: str, workers: str, found: Sequence[Row], timeout: float
) -> str:
    if outcome == "asked":
        return (
            f"{workers} was told to end {told}, which still runs after {timeout:g} s.\n"
            "It gets SIGKILL after [zk_executor] kill_grace seconds. Repeat the command to see. A "
            "worker that is away (airflow zk workers) obeys when it is back."
        )
    if outcome == "worker_gone":
        return (
            f"{told} is held by {workers}, which is gone.\n"
            "Its scheduler finds that out by itself, within seconds: there is nothing to kill."
        )
    if outcome == "queued":
        return (
            f"{told} is not running: it is queued in {found[0]['queue']}. Nothing was done.\n"
            "In Airflow, mark the task instance as failed, or clear it (in the UI; airflow tasks "
            "clear): a start that Airflow no longer wants is refused."
        )
    if outcome == "ambiguous":
        return f"several match: {told}.\nName one by its dispatch id: airflow zk kill DISPATCH"
    return (
        f"{told} is not running, and not queued: it has ended, or it was never handed over.\n"
        "See what Airflow says of it, and whether --root and --team here are the scheduler's."
    )


class NoSuchWorker(LookupError):
    """No worker, or more than one, is meant."""


def choose_worker(rows: Sequence[Row], text: str) -> str:
    """The full name of the worker that ``text`` means. Errors: NoSuchWorker, with candidates."""
    ways: tuple[Callable[[Row], bool], ...] = (
        lambda row: row["worker"] == text,
        # Without the suffix of its incarnation, or by its host.
        lambda row: text in (row["worker"].rpartition("-")[0], row["host"]),
        lambda row: row["worker"].startswith(text),
    )
    for meant in ways:
        names = sorted(row["worker"] for row in rows if meant(row))
        if len(names) == 1:
            return names[0]
        if names:
            raise NoSuchWorker(f"{text!r} means several workers:\n{_listed(names)}")
    names = sorted(row["worker"] for row in rows)
    if not names:
        raise NoSuchWorker("there is no live worker: airflow zk workers")
    raise NoSuchWorker(
        f"no live worker is called {text!r}, runs there or begins so:\n{_listed(names)}"
    )


def _listed(names: Sequence[str], most: int = 20) -> str:
    more = [f"  and {len(names) - most} more: airflow zk workers"] if len(names) > most else []
    return "\n".join([*(f"  {name}" for name in names[:most]), *more])


def _targets(args: Namespace) -> list[str]:
    everyone = getattr(args, "all", False)
    if everyone == bool(args.worker):
        exit_with(2, "name one: a worker, or --all")
    rows = call_core(args, "inspect_workers")
    if everyone:
        if not rows:
            exit_with(1, "there is no live worker: airflow zk workers")
        return sorted(row["worker"] for row in rows)
    try:
        return [choose_worker(rows, args.worker)]
    except NoSuchWorker as error:
        exit_with(1, str(error))


def _order(args: Namespace, verb: str, obeyed: Callable[[Row], bool], **details: Any) -> None:
    outcomes = call_core(
        args,
        "send_command",
        timeout_ms=_timeout_ms(args),
        workers=_targets(args),
        verb=verb,
        by=f"{_user()}@{socket.gethostname()}",
        **details,
    )
    rows = []
    for row in outcomes:
        problem = row["problem"]
        if not problem and not obeyed(row):
            problem = (
                f"it took the command, but {_standing(row)}. Its log says why (after SIGTERM it "
                "only ends), unless somebody else changed it at the same time"
            )
        rows.append({**row, "problem": problem})
    failed = [row for row in rows if row["problem"]]
    if args.output:
        print_rows(rows, args.output, lambda row: {**row, "queues": ",".join(row["queues"])})
    else:
        for row in rows:
            if not row["problem"]:
                print(f"{row['worker']} {_standing(row)}.")
    for row in failed:
        print(f"{row['worker']}: {row['problem']}", file=sys.stderr)
    if failed:
        raise SystemExit(1)


def _standing(row: Row) -> str:
    comment = f" ({row['comment']})" if row["comment"] else ""
    queues = f"queues {','.join(row['queues'])}" if row["queues"] else "no queue: it takes nothing"
    return f"is {row['state']}{comment}, {row['slots']} slots, {queues}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "?"


def _timeout_ms(args: Namespace) -> int:
    return round(args.timeout * 1000)


def _comment(args: Namespace) -> str:
    comment = args.comment.strip()
    if not comment.isprintable() or len(comment.encode()) > _COMMENT_BYTES_MAX:
        exit_with(2, f"--comment must be one line of at most {_COMMENT_BYTES_MAX} bytes")
    return comment


def _queue_names(args: Namespace) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in args.queues.split(",") if name.strip()))
    if not names:
        exit_with(2, "name at least one queue")
    for name in names:
        if not name.isprintable() or '"' in name or len(name.encode()) > _QUEUE_BYTES_MAX:
            exit_with(2, f"no queue can have the name {name!r}")
    return names
