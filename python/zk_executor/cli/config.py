# SPDX-License-Identifier: Apache-2.0
"""What the ``airflow zk config`` commands do. None needs the database if ``--hosts`` is given.

Exit codes: 0 done, 1 not done, 2 wrong usage.
"""

from __future__ import annotations

import getpass
import json
import queue
import socket
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

from airflow.exceptions import AirflowNotFoundException
from airflow.utils import cli as cli_utils
from airflow.utils.providers_configuration_loader import providers_configuration_loaded

from zk_executor.cli.core_calls import exit_with
from zk_executor.cli.rows import print_rows
from zk_executor.config import document, plans
from zk_executor.config.diff import describe, diff
from zk_executor.config.masking import is_sensitive
from zk_executor.config.store import ConfigStore
from zk_executor.exceptions import (
    ZookeeperConnectionError,
    ZookeeperError,
    ZookeeperInvalidPath,
    ZookeeperInvalidValue,
)
from zk_executor.hooks.login import Login, read_login
from zk_executor.hooks.zookeeper import ZookeeperHook
from zk_executor.values import from_binary, is_binary, text_of

_WRONG_USAGE = (ZookeeperInvalidPath, ZookeeperInvalidValue)


def _command(function: Callable[[Namespace, ConfigStore], None]) -> Callable[[Namespace], None]:
    @cli_utils.action_cli(check_db=False)
    @providers_configuration_loaded
    @wraps(function)
    def command(args: Namespace) -> None:
        try:
            with _hook(args) as hook:
                kept = getattr(args, "history_max", None)
                function(args, ConfigStore(hook, args.path, history_max=kept))
        except ZookeeperError as error:
            exit_with(2 if isinstance(error, _WRONG_USAGE) else 1, str(error))
        except KeyboardInterrupt:
            raise SystemExit(130) from None

    return command


@contextmanager
def _hook(args: Namespace) -> Iterator[ZookeeperHook]:
    conn_id = args.conn_id or ZookeeperHook.default_conn_name
    login = _login(args, conn_id)
    with ZookeeperHook(login.conn_id, login=login) as hook:
        yield hook


def _login(args: Namespace, conn_id: str) -> Login:
    if args.hosts and args.conn_id:
        exit_with(2, "name one: --conn-id or --hosts")
    if not args.hosts:
        from airflow.models.connection import Connection

        try:
            return read_login(Connection.get_connection_from_secrets(conn_id), conn_id)
        except AirflowNotFoundException:
            if args.conn_id:
                exit_with(
                    1, f"there is no connection {conn_id!r}. Make it: airflow connections add"
                )
    return _executor_login(args.hosts)


def _executor_login(hosts: str | None) -> Login:
    """The servers and the login that the executor has."""
    from airflow.configuration import conf

    from zk_executor.settings import InvalidSetting, read_executor_settings

    class WithHosts:
        def get(self, section: str, key: str, *, fallback: Any) -> Any:
            if key == "encryption_key":
                return "not needed here, so need not be set"
            given = hosts if key == "hosts" else None
            return given or conf.get(section, key, fallback=fallback)

    try:
        settings = read_executor_settings(WithHosts())
    except InvalidSetting as error:
        exit_with(2, str(error))
    user, _, password = settings.digest_auth.partition(":")
    return Login(
        conn_id="[zk_executor]",
        hosts=settings.hosts,
        user=user,
        password=password,
        acl="creator" if user else "open",
    )


@_command
def get_command(args: Namespace, store: ConfigStore) -> None:
    """Prints YAML, JSON, or a value as it is: bytes that are no text without a newline."""
    _, value = plans.get(store, args.key or "", args.revision)
    if args.output == "json":
        print(json.dumps(value, indent=2, ensure_ascii=False))
    elif is_binary(value):
        sys.stdout.flush()
        sys.stdout.buffer.write(from_binary(value))
    elif isinstance(value, dict):
        print(document.write(value), end="")
    else:
        print(value)


@_command
def set_command(args: Namespace, store: ConfigStore) -> None:
    """A newline at the end of standard input is not part of the value."""
    value = _value_on_stdin() if args.value == "-" else args.value
    _do(args, plans.plan_set(store, args.key, value, expected_revision=args.expect))


@_command
def delete_command(args: Namespace, store: ConfigStore) -> None:
    """Of what is not there, says so."""
    _do(args, plans.plan_delete(store, args.key, expected_revision=args.expect))


@_command
def apply_command(args: Namespace, store: ConfigStore) -> None:
    """Shows the diff, too."""
    plan = plans.plan_apply(
        store, _text(args.file), keep_others=args.keep_others, expected_revision=args.expect
    )
    _do(args, plan)


@_command
def rollback_command(args: Namespace, store: ConfigStore) -> None:
    """Shows the diff, too."""
    _do(args, plans.plan_rollback(store, args.revision, expected_revision=args.expect))


@_command
def diff_command(args: Namespace, store: ConfigStore) -> None:
    """Its exit code does not tell whether there is a difference."""
    if (args.file is None) == (args.revision is None):
        exit_with(2, "name one: a file, or --revision")
    if args.file is not None:
        plan = plans.plan_apply(store, _text(args.file), keep_others=args.keep_others)
        print(plan.describe(_hide(args)))
        return
    now = store.read()
    changes = diff(store.tree_at(args.revision, now), now.tree)
    print(describe(changes, _hide(args)) or "nothing has changed")


@_command
def history_command(args: Namespace, store: ConfigStore) -> None:
    """Newest first."""
    rows = [
        {
            "revision": record.revision,
            "when": record.when,
            "author": record.author,
            "comment": record.comment,
            "changed": sorted(key or "(root)" for key in record.before),
        }
        for record in store.history()
    ]
    print_rows(rows, args.output, lambda row: {**row, "changed": ",".join(row["changed"])})


@_command
def watch_command(args: Namespace, store: ConfigStore) -> None:
    """Changes that come while ZooKeeper is away are shown together, when it is back."""
    woken: queue.SimpleQueue[object] = queue.SimpleQueue()
    hook = store.hook
    hook.get_conn().add_listener(woken.put)
    seen = store.read()
    print(f"watching {store.root} at revision {seen.revision}", file=sys.stderr, flush=True)
    shown = 0
    while args.count is None or shown < args.count:
        try:
            hook.call("exists", store.head_path, watch=woken.put)
            now = store.read()
        except ZookeeperConnectionError as error:
            print(error, file=sys.stderr, flush=True)
            continue
        changes = [
            change
            for change in diff(seen.tree, now.tree)
            if not args.key or f"{change.key}/".startswith(f"{args.key}/")
        ]
        if changes:
            record = next(iter(store.history(1)), None)
            by = f" {record.when} {record.author} {record.comment}".rstrip() if record else ""
            print(f"revision {now.revision}{by}", describe(changes, _hide(args)), sep="\n")
            sys.stdout.flush()
            shown += 1
        elif now.revision == seen.revision:
            woken.get()
        seen = now


def _do(args: Namespace, plan: plans.Plan) -> None:
    print(plan.describe(_hide(args)))
    if not plan.changes:
        return
    if args.dry_run:
        print(f"Dry run: {plan.store.root} stays at revision {plan.seen.revision}.")
        return
    revision = plan.commit(_who(), args.comment)
    print(f"{plan.store.root} is at revision {revision}.")


def _hide(args: Namespace) -> Callable[[str], bool]:
    return lambda key: not args.show_secrets and is_sensitive(key)


def _value_on_stdin() -> str | bytes:
    data = _stdin()
    text = text_of(data)
    return data if text is None else text.removesuffix("\n")


def _stdin() -> bytes:
    """As it comes: neither its encoding nor its line ends are the terminal's."""
    given = getattr(sys.stdin, "buffer", None)
    return sys.stdin.read().encode() if given is None else given.read()  # type: ignore[no-any-return]


def _text(name: str) -> str:
    try:
        return (_stdin() if name == "-" else Path(name).read_bytes()).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        exit_with(2, f"cannot read {name}: {error}")


def _who() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "?"
    return f"{user}@{socket.gethostname()}"
