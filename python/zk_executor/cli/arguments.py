# SPDX-License-Identifier: Apache-2.0
"""Options that several ``airflow zk`` commands have. Loaded by every ``airflow`` call: cheap."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from airflow.cli.cli_config import ActionCommand, Arg

# Square brackets in a help text are markup to rich: options are named section.option here.
ARG_HOSTS = Arg(("--hosts",), help="ZooKeeper servers (default: zk_executor.hosts)")
ARG_ROOT = Arg(("--root",), help="Root znode (default: zk_executor.root)")
ARG_TEAM = Arg(("--team",), help="Team (default: the one without a name)")


class SubcommandsArg(Arg):
    """Commands below a command that does something by itself, too.

    Airflow's GroupCommand insists on a subcommand.
    """

    def __init__(self, commands: Sequence[ActionCommand]) -> None:
        super().__init__(flags=("subcommands",))
        self.commands = commands

    def add_to_parser(self, parser: argparse.ArgumentParser) -> None:
        below = parser.add_subparsers(dest="subcommand", metavar="COMMAND")
        for command in self.commands:
            one = below.add_parser(
                command.name,
                help=command.help,
                description=command.description,
                epilog=command.epilog,
                formatter_class=parser.formatter_class,
            )
            for arg in command.args:
                arg.add_to_parser(one)
            one.set_defaults(func=command.func)
