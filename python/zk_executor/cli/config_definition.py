# SPDX-License-Identifier: Apache-2.0
"""The ``airflow zk config`` commands: names, options, help. Loaded by every ``airflow`` call."""

from __future__ import annotations

import argparse

from airflow.cli.cli_config import ARG_VERBOSE, ActionCommand, Arg, GroupCommand, lazy_load_command


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not the number of a revision")
    return int(text)


ARG_CONN_ID = Arg(
    ("--conn-id",),
    help="Airflow connection (default: zookeeper_default; without it, the executor's servers)",
)
ARG_HOSTS_INSTEAD = Arg(
    ("--hosts",),
    help="Instead of a connection: servers, with zk_executor.digest_auth as login",
)
ARG_PATH = Arg(("path",), metavar="PATH", help="Root of the configuration, /app/config")
ARG_KEY = Arg(("key",), metavar="KEY", help="Below it, db/port; all of it unless given", nargs="?")
ARG_KEY_NEEDED = Arg(("key",), metavar="KEY", help="Below it, db/port")
ARG_VALUE = Arg(("value",), metavar="VALUE", help="The text; - reads it from standard input")
ARG_FILE = Arg(("file",), metavar="FILE", help="YAML; - reads it from standard input")
ARG_FILE_MAYBE = Arg(("file",), metavar="FILE", help="YAML to compare with", nargs="?")
ARG_REVISION = Arg(("revision",), metavar="REVISION", help="See history", type=_number)
ARG_REVISION_OPTION = Arg(("--revision",), help="An older one: see history", type=_number)
ARG_EXPECT = Arg(
    ("--expect",), help="Refuse if the configuration is at another revision", type=_number
)
ARG_DRY_RUN = Arg(("--dry-run",), help="Only show what would change", action="store_true")
ARG_KEEP_OTHERS = Arg(
    ("--keep-others",), help="Keep what the file does not name", action="store_true"
)
ARG_COMMENT = Arg(("--comment",), help="Why; shown by history", default="")
ARG_SECRETS = Arg(
    ("--show-secrets",), help="Show values of passwords, tokens and the like", action="store_true"
)
ARG_HISTORY_MAX = Arg(
    ("--history-max",),
    help="How many revisions to keep from now on; the tree remembers it (100 unless ever told)",
    type=_number,
)
ARG_COUNT = Arg(("--count",), help="End after so many changes", type=_number)
ARG_FORMAT = Arg(
    ("-o", "--output"), help="yaml (default) or json", choices=("yaml", "json"), default="yaml"
)
ARG_ROWS = Arg(
    ("-o", "--output"),
    help="table (default), json, yaml or plain",
    metavar="(table, json, yaml, plain)",
    choices=("table", "json", "yaml", "plain"),
    default="table",
)
_COMMON = (ARG_CONN_ID, ARG_HOSTS_INSTEAD, ARG_VERBOSE)
_CHANGE = (ARG_EXPECT, ARG_DRY_RUN, ARG_COMMENT, ARG_HISTORY_MAX, ARG_SECRETS, *_COMMON)
_CODES = """
Exit codes: 0 done, 1 not done (the message says why, nothing was changed), 2 wrong usage.
"""
_EPILOGS = {
    "get": """examples:
  All of it, as YAML that apply takes:
    airflow zk config get /app/config
  One value, as it is:
    airflow zk config get /app/config db/port
  As it was:
    airflow zk config get /app/config --revision 3
""",
    "set": """examples:
    airflow zk config set /app/config db/port 5433 --comment "moved to the new server"
  A secret, not seen in the list of processes:
    airflow zk config set /app/config db/password - < password.txt
  Bytes that are no text, and back into a file:
    airflow zk config set /app/config logo - < logo.png
    airflow zk config get /app/config logo > logo.png
""",
    "delete": """examples:
    airflow zk config delete /app/config db/port
""",
    "apply": """examples:
  See, then do:
    airflow zk config apply /app/config config.yaml --dry-run
    airflow zk config apply /app/config config.yaml
  Scalars are stored as they are written: version: 1.10 is the text 1.10, enabled: yes the text yes.
""",
    "diff": """examples:
  What apply would do:
    airflow zk config diff /app/config config.yaml
  What has changed since revision 3 (- then, + now):
    airflow zk config diff /app/config --revision 3
""",
    "history": """examples:
    airflow zk config history /app/config
""",
    "rollback": """examples:
  As it was at revision 3, as a new revision:
    airflow zk config rollback /app/config 3
""",
    "watch": """examples:
  Every change as it comes, until Ctrl-C:
    airflow zk config watch /app/config
""",
}


def _command(name: str, text: str, description: str, *args: Arg) -> ActionCommand:
    return ActionCommand(
        name=name,
        help=text,
        description=description,
        func=lazy_load_command(f"zk_executor.cli.config.{name}_command"),
        args=args,
        epilog=_EPILOGS[name] + _CODES,
    )


CONFIG_COMMANDS = GroupCommand(
    name="config",
    help="Configuration in ZooKeeper: read, change, history",
    description="Configuration in ZooKeeper. Every change is one transaction, and a revision.",
    subcommands=(
        _command(
            "get",
            "Print a configuration or one value",
            "Print a configuration as YAML, or one value as it is.",
            *(ARG_PATH, ARG_KEY, ARG_REVISION_OPTION, ARG_FORMAT, *_COMMON),
        ),
        _command(
            "set",
            "Set one value",
            "Set one value; what is above it is made if it is missing.",
            *(ARG_PATH, ARG_KEY_NEEDED, ARG_VALUE, *_CHANGE),
        ),
        _command(
            "delete",
            "Delete a key and what is below it",
            "Delete a key and what is below it.",
            *(ARG_PATH, ARG_KEY_NEEDED, *_CHANGE),
        ),
        _command(
            "apply",
            "Make a configuration what a file says",
            "Make a configuration what a YAML file says: all at once, or not at all.",
            *(ARG_PATH, ARG_FILE, ARG_KEEP_OTHERS, *_CHANGE),
        ),
        _command(
            "diff",
            "Compare with a file or an older revision",
            "Show what apply would change, or what has changed since a revision.",
            *(ARG_PATH, ARG_FILE_MAYBE, ARG_REVISION_OPTION, ARG_KEEP_OTHERS, ARG_SECRETS),
            *_COMMON,
        ),
        _command(
            "history",
            "List the revisions",
            "List the revisions: when, by whom, why, which keys.",
            *(ARG_PATH, ARG_ROWS, *_COMMON),
        ),
        _command(
            "rollback",
            "Go back to an older revision",
            "Make a configuration what it was at a revision, as a new revision.",
            *(ARG_PATH, ARG_REVISION, *_CHANGE),
        ),
        _command(
            "watch",
            "Print changes as they come",
            "Print changes as they come.",
            *(ARG_PATH, ARG_KEY, ARG_COUNT, ARG_SECRETS, *_COMMON),
        ),
    ),
)
