# SPDX-License-Identifier: Apache-2.0
"""The ``airflow zk`` commands: names, options, help. Loaded by every ``airflow`` call: cheap."""

from __future__ import annotations

import logging

from airflow.cli.cli_config import (
    ARG_OUTPUT,
    ARG_VERBOSE,
    ActionCommand,
    Arg,
    GroupCommand,
    lazy_load_command,
)

from zk_executor.bare_name import normalize_executor_setting
from zk_executor.cli.arguments import ARG_HOSTS, ARG_ROOT, ARG_TEAM, SubcommandsArg
from zk_executor.cli.config_definition import CONFIG_COMMANDS
from zk_executor.cli.control_definition import CONTROL_COMMANDS, QUEUE_COMMANDS

log = logging.getLogger(__name__)

# Values pass as they are: zk-worker checks them, whether they come from here, from its own command
# line or from the environment.
WORKER_VALUE_ARGS = (
    Arg(("--slots",), help="Tasks at the same time (default: zk_executor.worker_slots)"),
    Arg(
        ("--queues",),
        help="Queues to serve, separated by commas (default: zk_executor.worker_queues)",
    ),
    Arg(
        ("--name",),
        help="Name by which this worker's logs are reached (default: zk_executor.worker_host)",
    ),
    Arg(
        ("--http-port",),
        help="Port of logs, metrics and health; 0: any free one "
        "(default: zk_executor.worker_http_port)",
    ),
    Arg(
        ("--http-host",),
        help="Address to serve HTTP on (default: zk_executor.worker_http_host)",
    ),
    ARG_HOSTS,
    ARG_ROOT,
    ARG_TEAM,
    Arg(
        ("--drain-timeout",),
        help="Seconds after SIGTERM for tasks to finish (default: zk_executor.drain_timeout)",
    ),
    Arg(
        ("--kill-grace",),
        help="Seconds from SIGTERM to SIGKILL of a task (default: zk_executor.kill_grace)",
    ),
    Arg(
        ("--journal-dir",),
        help="Folder where results wait while ZooKeeper is away "
        "(default: zk_executor.worker_journal_dir)",
    ),
    Arg(
        ("--log-level",),
        help="trace, debug, info, warning or error (default: zk_executor.worker_log_level)",
    ),
)
WORKER_SWITCH_ARGS = (
    Arg(
        ("--check-config",),
        help="Check options and configuration, then exit: 0 if good, 2 if not",
        action="store_true",
    ),
    Arg(
        ("--version",),
        help="Print the version of zk-worker and exit",
        action="store_true",
    ),
)

_WORKER_EPILOG = """examples:
  Serve the default queue, 16 tasks at a time:
    airflow zk worker
  Serve two queues, 32 tasks at a time, under a name of your own:
    airflow zk worker --queues default,heavy --slots 32 --name worker-1
  See what is wrong with the configuration, without starting:
    airflow zk worker --check-config

SIGTERM drains: the worker takes nothing new, lets its tasks finish, and exits with 0.
Exit codes: 0 drained, 2 invalid option or configuration, 3 port taken, 4 Airflow did not start,
128+n signal n killed the worker process.
"""
_WORKERS_EPILOG = """examples:
  Who is there, and how busy:
    airflow zk workers
  For a script:
    airflow zk workers --output json
"""
_QUEUES_EPILOG = """examples:
  What waits, since when, and who could take it (0 workers: nobody serves that queue):
    airflow zk queues
  For a script:
    airflow zk queues --output json
  Have a worker serve more of them, or fewer:
    airflow zk queues add worker-1 heavy,gpu
    airflow zk queues remove worker-1 gpu
"""
_EXPORTER_EPILOG = """examples:
  Prometheus metrics of all queues and workers, at http://HOST:9793/metrics:
    airflow zk exporter
  What an autoscaler of the workers of two queues asks (slots in use, and what waits):
    curl 'http://localhost:9793/scale?queue=default&queue=heavy'

It only reads, once per --interval, however many ask. One is enough; several may run.
Exit codes: 0 after SIGTERM, 2 invalid option or configuration, 3 port taken.
"""

ZK_COMMANDS = (
    ActionCommand(
        name="worker",
        help="Start a worker",
        description="Start a worker on this host: it takes tasks from ZooKeeper and runs them.",
        func=lazy_load_command("zk_executor.cli.commands.worker"),
        args=(*WORKER_VALUE_ARGS, *WORKER_SWITCH_ARGS),
        epilog=_WORKER_EPILOG,
    ),
    ActionCommand(
        name="workers",
        help="List the live workers",
        description="List the live workers: state, queues, slots, what they run, and the comment "
        "of who paused them.",
        func=lazy_load_command("zk_executor.cli.commands.workers"),
        args=(ARG_HOSTS, ARG_ROOT, ARG_TEAM, ARG_OUTPUT, ARG_VERBOSE),
        epilog=_WORKERS_EPILOG,
    ),
    ActionCommand(
        name="queues",
        help="List the queues; add them to workers, remove them",
        description="List the queues: what waits, what runs, how old the oldest is. With add or "
        "remove: change which queues a worker serves.",
        func=lazy_load_command("zk_executor.cli.commands.queues"),
        args=(
            SubcommandsArg(QUEUE_COMMANDS),
            ARG_HOSTS,
            ARG_ROOT,
            ARG_TEAM,
            ARG_OUTPUT,
            ARG_VERBOSE,
        ),
        epilog=_QUEUES_EPILOG,
    ),
    ActionCommand(
        name="exporter",
        help="Serve what ZooKeeper knows of queues and workers as metrics",
        description="Serve depth and age of queues, workers, slots and more as Prometheus metrics, "
        "and as JSON for autoscalers.",
        func=lazy_load_command("zk_executor.cli.exporter.exporter"),
        args=(
            ARG_HOSTS,
            ARG_ROOT,
            ARG_TEAM,
            Arg(("--http-port",), help="Port; 0: any free one (default: 9793)", default="9793"),
            Arg(("--http-host",), help="Address to serve HTTP on", default="0.0.0.0"),
            Arg(("--interval",), help="Seconds between two readings (default: 10)", default="10"),
            Arg(
                ("--timeout",),
                help="Seconds for ZooKeeper to answer a reading (default: 10)",
                default="10",
            ),
            ARG_VERBOSE,
        ),
        epilog=_EXPORTER_EPILOG,
    ),
    *CONTROL_COMMANDS,
    CONFIG_COMMANDS,
)


def get_zk_cli_commands() -> list[GroupCommand]:
    """Called by every ``airflow`` command; see bare_name.py for why the setting is touched here."""
    try:
        normalize_executor_setting()
    except Exception:
        log.exception("cannot look at [core] executor")
    return [
        GroupCommand(
            name="zk",
            help="Workers of ZkExecutor, and configuration in ZooKeeper",
            description="Workers take tasks from ZooKeeper, where the scheduler's ZkExecutor puts "
            "them.",
            subcommands=ZK_COMMANDS,
        )
    ]
