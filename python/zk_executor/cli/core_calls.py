# SPDX-License-Identifier: Apache-2.0
"""Calls of the core for a command: with the configuration, and with errors told to a person."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from airflow.executors.base_executor import ExecutorConf

from zk_executor.settings import (
    Conf,
    ExecutorSettings,
    InvalidSetting,
    read_executor_settings,
)

TIMEOUT_MS = 10_000


@dataclass(frozen=True)
class _WithFlags:
    """A configuration in which what was given on the command line comes first."""

    conf: ExecutorConf
    flags: Mapping[str, str | None]

    def get(self, section: str, key: str, *, fallback: Any) -> Any:
        given = self.flags.get(key)
        return self.conf.get(section, key, fallback=fallback) if given is None else given


def exit_with(code: int, message: str) -> NoReturn:
    """Ends the process: 1 it could not be done, 2 wrong usage or configuration."""
    print(message, file=sys.stderr)
    raise SystemExit(code)


class CoreCallError(Exception):
    """No answer; ``code`` is the exit code that says so: see exit_with."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def call_core(
    args: Namespace, function: str, *, timeout_ms: int = TIMEOUT_MS, **arguments: Any
) -> Any:
    """What the function of ``_core`` returns; does not return if there is no answer."""
    try:
        return ask_core(args, function, timeout_ms=timeout_ms, **arguments)
    except CoreCallError as error:
        exit_with(error.code, str(error))


def executor_settings(args: Namespace) -> ExecutorSettings:
    """The configuration of the team's executor. Errors: CoreCallError."""
    conf: Conf = _WithFlags(ExecutorConf(args.team), {"hosts": args.hosts, "root": args.root})
    try:
        return read_executor_settings(conf)
    except InvalidSetting as error:
        raise CoreCallError(2, str(error)) from error


def ask_core(
    args: Namespace, function: str, *, timeout_ms: int = TIMEOUT_MS, **arguments: Any
) -> Any:
    """What the function of ``_core`` returns. Errors: CoreCallError, told to a person."""
    team = args.team or "default"
    settings = executor_settings(args)
    try:
        from zk_executor import _core
    except ImportError as error:
        raise CoreCallError(
            1, f"zk_executor._core cannot be loaded ({error}); reinstall zk-executor"
        ) from error
    try:
        return getattr(_core, function)(
            hosts=settings.hosts,
            root=settings.root,
            team=team,
            digest_auth=settings.digest_auth,
            timeout_ms=timeout_ms,
            **arguments,
        )
    except _core.ZkError as error:
        raise CoreCallError(
            1,
            f"ZooKeeper gave no answer: {error}\n"
            f"Asked: hosts={settings.hosts} root={settings.root} team={team}\n"
            "Is the ensemble up, and do [zk_executor] hosts, root and digest_auth here equal the "
            "scheduler's?\n"
            "See: airflow config get-value zk_executor hosts",
        ) from error
    except ValueError as error:
        raise CoreCallError(2, f"invalid [zk_executor] configuration: {error}") from error
