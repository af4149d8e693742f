# SPDX-License-Identifier: Apache-2.0
"""What the ``airflow zk`` commands do. None needs the database.

Exit codes: 1 something is missing or doesn't answer, 2 invalid configuration. ``worker`` becomes
zk-worker and has its exit codes.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from airflow.cli.simple_table import AirflowConsole
from airflow.executors.base_executor import ExecutorConf
from airflow.utils import cli as cli_utils
from airflow.utils.providers_configuration_loader import providers_configuration_loaded

from zk_executor.cli.definition import WORKER_SWITCH_ARGS, WORKER_VALUE_ARGS
from zk_executor.settings import Conf, InvalidSetting, read_executor_settings

_WORKER_BINARY = "zk-worker"
_TIMEOUT_MS = 10_000


@dataclass(frozen=True)
class _WithFlags:
    """A configuration in which what was given on the command line comes first."""

    conf: ExecutorConf
    flags: Mapping[str, str | None]

    def get(self, section: str, key: str, *, fallback: Any) -> Any:
        given = self.flags.get(key)
        return self.conf.get(section, key, fallback=fallback) if given is None else given


def _exit(code: int, message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise SystemExit(code)


def _find_worker() -> str | None:
    """Beside the interpreter first: that is the one installed together with this package."""
    for directory in (Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))):
        candidate = directory / _WORKER_BINARY
        if os.access(candidate, os.X_OK):
            return str(candidate)
    return shutil.which(_WORKER_BINARY)


def _given_flags(args: Namespace) -> Iterable[str]:
    for arg in (*WORKER_VALUE_ARGS, *WORKER_SWITCH_ARGS):
        flag = arg.flags[0]
        value = getattr(args, flag.lstrip("-").replace("-", "_"), None)
        if value is True:
            yield flag
        elif value not in (None, False):
            yield f"{flag}={value}"


@cli_utils.action_cli(check_db=False)
@providers_configuration_loaded
def worker(args: Namespace) -> None:
    """Becomes zk-worker, which keeps this process's id, environment and signals."""
    binary = _find_worker()
    if binary is None:
        _exit(
            1,
            f"{_WORKER_BINARY} was found neither beside {sys.executable} nor on PATH.\n"
            "It comes with the wheel: pip install --force-reinstall zk-executor",
        )
    command = [binary, "--python", sys.executable, *_given_flags(args)]
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execv(binary, command)
    except OSError as error:
        _exit(1, f"cannot start {binary}: {error}")


@cli_utils.action_cli(check_db=False)
@providers_configuration_loaded
def workers(args: Namespace) -> None:
    """Prints the live workers."""
    _print(args, "inspect_workers", lambda row: {**row, "queues": ",".join(row["queues"])})


@cli_utils.action_cli(check_db=False)
@providers_configuration_loaded
def queues(args: Namespace) -> None:
    """Prints the queues."""
    _print(args, "inspect_queues", _queue_row)


def _queue_row(row: Mapping[str, Any]) -> dict[str, Any]:
    age = row["oldest_age_seconds"]
    return {**row, "oldest_age_seconds": "-" if age is None else f"{age:.1f}"}


def _print(
    args: Namespace,
    inspect: str,
    for_people: Callable[[Mapping[str, Any]], dict[str, Any]],
) -> None:
    team = args.team or "default"
    conf: Conf = _WithFlags(ExecutorConf(args.team), {"hosts": args.hosts, "root": args.root})
    try:
        settings = read_executor_settings(conf)
    except InvalidSetting as error:
        _exit(2, str(error))
    try:
        from zk_executor import _core
    except ImportError as error:
        _exit(1, f"zk_executor._core cannot be loaded ({error}); reinstall zk-executor")
    try:
        rows = getattr(_core, inspect)(
            hosts=settings.hosts,
            root=settings.root,
            team=team,
            digest_auth=settings.digest_auth,
            timeout_ms=_TIMEOUT_MS,
        )
    except _core.ZkError as error:
        _exit(
            1,
            f"ZooKeeper gave no answer: {error}\n"
            f"Asked: hosts={settings.hosts} root={settings.root} team={team}\n"
            "Is the ensemble up, and do [zk_executor] hosts, root and digest_auth here equal the "
            "scheduler's?\n"
            "See: airflow config get-value zk_executor hosts",
        )
    except ValueError as error:
        _exit(2, f"invalid [zk_executor] configuration: {error}")
    mapper = for_people if args.output in ("table", "plain") else dict
    AirflowConsole().print_as(rows, args.output, mapper)
