# SPDX-License-Identifier: Apache-2.0
"""What ``airflow zk exporter`` does: checks its options, and becomes the exporter."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from collections.abc import Callable

from airflow.utils import cli as cli_utils
from airflow.utils.providers_configuration_loader import providers_configuration_loaded

from zk_executor.cli.core_calls import CoreCallError, executor_settings, exit_with


@cli_utils.action_cli(check_db=False)
@providers_configuration_loaded
def exporter(args: Namespace) -> None:
    """Becomes a process without Airflow in it, which needs a fraction of the memory."""
    try:
        settings = executor_settings(args)
    except CoreCallError as error:
        exit_with(error.code, str(error))
    text = json.dumps(
        {
            "hosts": settings.hosts,
            "root": settings.root,
            "team": args.team or "default",
            "digest_auth": settings.digest_auth,
            "host": args.http_host,
            "port": _checked("--http-port", args.http_port, int, 0, 65535),
            "interval": _checked("--interval", args.interval, float, 1, 3600),
            "timeout": _checked("--timeout", args.timeout, float, 0.1, 3600),
        }
    )
    # Standard input: neither arguments nor environment would keep the login to itself.
    settings_file = os.memfd_create("settings")
    os.write(settings_file, text.encode())
    os.lseek(settings_file, 0, os.SEEK_SET)
    os.dup2(settings_file, 0)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", "zk_executor.exporter"])


def _checked(
    flag: str, text: str, kind: Callable[[str], float], least: float, most: float
) -> float:
    try:
        value = kind(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        exit_with(2, f"{flag} must be {least} to {most}, it is '{text}'")
    return value
