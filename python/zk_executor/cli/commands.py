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
from pathlib import Path
from typing import Any

from airflow.utils import cli as cli_utils
from airflow.utils.providers_configuration_loader import providers_configuration_loaded

from zk_executor.cli.core_calls import call_core, exit_with
from zk_executor.cli.definition import WORKER_SWITCH_ARGS, WORKER_VALUE_ARGS
from zk_executor.cli.rows import print_rows

_WORKER_BINARY = "zk-worker"


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
        exit_with(
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
        exit_with(1, f"cannot start {binary}: {error}")


@cli_utils.action_cli(check_db=False)
@providers_configuration_loaded
def workers(args: Namespace) -> None:
    """Prints the live workers."""
    _print(args, "inspect_workers", _worker_row)


def _worker_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "queues": ",".join(row["queues"])}


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
    rows = call_core(args, inspect)
    print_rows(rows, args.output, for_people)
