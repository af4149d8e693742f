# SPDX-License-Identifier: Apache-2.0
"""The ``airflow zk`` commands that change what workers do. Loaded by every ``airflow`` call."""

from __future__ import annotations

import argparse

from airflow.cli.cli_config import ARG_VERBOSE, ActionCommand, Arg, lazy_load_command

from zk_executor.cli.arguments import ARG_HOSTS, ARG_ROOT, ARG_TEAM
from zk_executor.get_provider_info import WORKER_SLOTS_MAX


def _slots(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= WORKER_SLOTS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {WORKER_SLOTS_MAX}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.1 to 3600")
    return seconds


def _timeout(default: int) -> Arg:
    return Arg(
        ("--timeout",),
        help=f"Seconds to wait for it to be true (default: {default})",
        type=_seconds,
        default=float(default),
    )


_WORKER_HELP = "Full name, its unique beginning, or the name of its host: see airflow zk workers"
ARG_WORKER = Arg(("worker",), metavar="WORKER", help=_WORKER_HELP)
ARG_WORKER_OR_ALL = Arg(("worker",), metavar="WORKER", nargs="?", help=_WORKER_HELP)
ARG_ALL = Arg(("--all",), help="Every live worker", action="store_true")
ARG_COMMENT = Arg(("--comment",), help="Why; shown by airflow zk workers", default="")
ARG_COMMENT_NEEDED = Arg(("--comment",), help="Why; shown by airflow zk workers", required=True)
ARG_SLOTS = Arg(
    ("slots",), metavar="N", help=f"Tasks at the same time, 1 to {WORKER_SLOTS_MAX}", type=_slots
)
ARG_QUEUE_NAMES = Arg(("queues",), metavar="QUEUE", help="Queues, separated by commas")
ARG_DISPATCH = Arg(
    ("dispatch",),
    metavar="DISPATCH",
    nargs="?",
    help="Dispatch id: the task instance's external_executor_id, and in the worker's log",
)
ARG_TASK_INSTANCE = Arg(
    ("--ti",),
    help="Instead of the dispatch: the task instance",
    nargs=3,
    metavar=("DAG_ID", "TASK_ID", "RUN_ID"),
)
ARG_MAP_INDEX = Arg(("--map-index",), help="Of a mapped task, with --ti", type=int, default=-1)
ARG_ROWS = Arg(
    ("-o", "--output"),
    help="Print rows instead of a sentence: json, yaml, plain or table",
    metavar="(table, json, yaml, plain)",
    choices=("table", "json", "yaml", "plain"),
)
_COMMON = (ARG_HOSTS, ARG_ROOT, ARG_TEAM, ARG_ROWS, ARG_VERBOSE)

_CODES = """
Exit codes: 0 it is so now, 1 it is not (the message says what to do), 2 wrong usage.
"""
_DRAIN_EPILOG = (
    """examples:
  Before a host is restarted: let it finish, give it nothing new:
    airflow zk drain worker-1
  See when it is idle (running 0), then end its process:
    airflow zk workers
  Take it back:
    airflow zk resume worker-1
The worker's process stays. SIGTERM drains, too, and then ends it.
"""
    + _CODES
)
_MAINTENANCE_EPILOG = (
    """examples:
  As drain, and everybody sees why:
    airflow zk maintenance worker-1 --comment "new disk, back at 14:00"
  The whole fleet, before ZooKeeper is upgraded:
    airflow zk maintenance --all --comment "upgrade"
  The end of it:
    airflow zk resume --all
"""
    + _CODES
)
_RESUME_EPILOG = (
    """examples:
  Take tasks again after drain or maintenance:
    airflow zk resume worker-1
A worker that got SIGTERM can't be resumed: its process ends.
"""
    + _CODES
)
_CONCURRENCY_EPILOG = (
    """examples:
  32 slots from now on:
    airflow zk concurrency worker-1 32
Fewer than what runs now: nothing is ended, and nothing new starts until there is room.
A restarted worker has again what it was started with.
"""
    + _CODES
)
_QUEUES_ADD_EPILOG = (
    """examples:
  Serve two more queues:
    airflow zk queues add worker-1 heavy,gpu
A restarted worker has again what it was started with.
"""
    + _CODES
)
_QUEUES_REMOVE_EPILOG = (
    """examples:
  Serve a queue no more; what runs of it goes on, what waits is for other workers:
    airflow zk queues remove worker-1 gpu
"""
    + _CODES
)
_KILL_EPILOG = (
    """examples:
  A task that hangs:
    airflow zk kill --ti my_dag my_task manual__2026-01-01T00:00:00+00:00
  One of a mapped task:
    airflow zk kill --ti my_dag my_task my_run --map-index 3
  By dispatch id:
    airflow zk kill 0198c9a2-8f0e-7cc1-a7b0-3c1d4e5f6a7b
The task gets SIGTERM (its on_kill runs), and SIGKILL after zk_executor.kill_grace seconds. Airflow
sees it as failed, and tries again if it has tries left. What is queued is not touched.
"""
    + _CODES
)

QUEUE_COMMANDS = (
    ActionCommand(
        name="add",
        help="Have a worker serve more queues",
        description="Have a worker serve more queues, at once.",
        func=lazy_load_command("zk_executor.cli.controls.queues_add"),
        args=(ARG_WORKER, ARG_QUEUE_NAMES, _timeout(10), *_COMMON),
        epilog=_QUEUES_ADD_EPILOG,
    ),
    ActionCommand(
        name="remove",
        help="Have a worker serve fewer queues",
        description="Have a worker serve fewer queues, at once.",
        func=lazy_load_command("zk_executor.cli.controls.queues_remove"),
        args=(ARG_WORKER, ARG_QUEUE_NAMES, _timeout(10), *_COMMON),
        epilog=_QUEUES_REMOVE_EPILOG,
    ),
)

CONTROL_COMMANDS = (
    ActionCommand(
        name="drain",
        help="Give a worker nothing new",
        description="The worker takes nothing new; what runs goes on, and the process stays.",
        func=lazy_load_command("zk_executor.cli.controls.drain"),
        args=(ARG_WORKER_OR_ALL, ARG_ALL, ARG_COMMENT, _timeout(10), *_COMMON),
        epilog=_DRAIN_EPILOG,
    ),
    ActionCommand(
        name="maintenance",
        help="Give a worker nothing new, and say why",
        description="As drain, with the state maintenance and a comment.",
        func=lazy_load_command("zk_executor.cli.controls.maintenance"),
        args=(ARG_WORKER_OR_ALL, ARG_ALL, ARG_COMMENT_NEEDED, _timeout(10), *_COMMON),
        epilog=_MAINTENANCE_EPILOG,
    ),
    ActionCommand(
        name="resume",
        help="End drain or maintenance",
        description="The worker takes tasks again.",
        func=lazy_load_command("zk_executor.cli.controls.resume"),
        args=(ARG_WORKER_OR_ALL, ARG_ALL, _timeout(10), *_COMMON),
        epilog=_RESUME_EPILOG,
    ),
    ActionCommand(
        name="concurrency",
        help="Set a worker's slots",
        description="Set how many tasks a worker runs at the same time.",
        func=lazy_load_command("zk_executor.cli.controls.concurrency"),
        args=(ARG_WORKER, ARG_SLOTS, _timeout(10), *_COMMON),
        epilog=_CONCURRENCY_EPILOG,
    ),
    ActionCommand(
        name="kill",
        help="End a running task",
        description="End a running task, wherever it runs.",
        func=lazy_load_command("zk_executor.cli.controls.kill"),
        args=(ARG_DISPATCH, ARG_TASK_INSTANCE, ARG_MAP_INDEX, _timeout(30), *_COMMON),
        epilog=_KILL_EPILOG,
    ),
)
