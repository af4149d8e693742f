# SPDX-License-Identifier: Apache-2.0
"""The options of [zk_executor], read once, validated, immutable.

``conf`` is anything with Airflow's ``get(section, key, fallback=)``: pass an ``ExecutorConf`` so
that a team's overrides count. Errors: InvalidSetting, which names section, option, value and what
is allowed; the value of a secret is not shown.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from zk_executor.get_provider_info import DEFAULTS, OPTIONS, SECTION, WORKER_SLOTS_MAX
from zk_executor.servers import InvalidServers, parse_servers

_T = TypeVar("_T", int, float)

SUPERVISORS = ("auto", "native", "airflow")
WARM = ("imports", "off")
LOG_LEVELS = ("trace", "debug", "info", "warning", "error")
_SHORTEST_SECRET = 8
_ROOT = re.compile(r"^(/[A-Za-z0-9_.-]+)+$")
_MODULE = re.compile(r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")


class Conf(Protocol):
    """What we need of Airflow's configuration."""

    def get(self, section: str, key: str, *, fallback: Any) -> Any: ...


class InvalidSetting(ValueError):
    """An option has a value that cannot be used."""

    def __init__(self, option: str, value: str, allowed: str, section: str = SECTION) -> None:
        super().__init__(f"[{section}] {option} = {value!r} is invalid: {allowed}")
        self.section = section
        self.option = option


@dataclass(frozen=True)
class ExecutorSettings:
    """What the executor in the scheduler, and the CLI, need."""

    hosts: str
    root: str
    digest_auth: str
    session_timeout_ms: int
    partitions: int
    encryption_secret: bytes
    max_workload_bytes: int
    default_queue: str

    def __repr__(self) -> str:
        return f"ExecutorSettings(hosts={self.hosts!r}, root={self.root!r}, …)"


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker needs in addition."""

    slots: int
    queues: tuple[str, ...]
    host: str
    http_port: int
    http_host: str
    drain_timeout: float
    kill_grace: float
    relist_interval: float
    journal_dir: str
    log_level: str
    preload: tuple[str, ...]
    supervisor: str
    warm: str
    warm_memory_mb: int
    warm_idle_children: int


def read_executor_settings(conf: Conf) -> ExecutorSettings:
    """Reads and validates. Errors: InvalidSetting."""
    option = _reader(conf)
    return ExecutorSettings(
        hosts=_hosts(option("hosts")),
        root=_root(option("root")),
        digest_auth=_digest_auth(option("digest_auth")),
        session_timeout_ms=round(_number(option, "session_timeout", float, 1, 600) * 1000),
        partitions=_number(option, "partitions", int, 1, 1024),
        encryption_secret=_encryption_secret(option("encryption_key")),
        max_workload_bytes=_number(option, "max_workload_bytes", int, 1024, 1_000_000),
        default_queue=_default_queue(),
    )


def read_worker_settings(conf: Conf) -> WorkerSettings:
    """Reads and validates. Errors: InvalidSetting."""
    option = _reader(conf)
    day = 24 * 3600
    return WorkerSettings(
        slots=_number(option, "worker_slots", int, 1, WORKER_SLOTS_MAX),
        queues=_names(option("worker_queues")) or (_default_queue(),),
        host=_worker_host(option("worker_host")),
        http_port=_number(option, "worker_http_port", int, 0, 65535) or _log_server_port(),
        http_host=_http_host(option("worker_http_host")),
        drain_timeout=_number(option, "drain_timeout", float, 0, 30 * day),
        kill_grace=_number(option, "kill_grace", float, 0, day),
        relist_interval=_number(option, "relist_interval", float, 0.1, 3600),
        journal_dir=_journal_dir(option("worker_journal_dir")),
        log_level=_log_level(option("worker_log_level")),
        preload=_modules(option("preload")),
        supervisor=_one_of(option, "supervisor", SUPERVISORS),
        warm=_one_of(option, "warm", WARM),
        warm_memory_mb=_number(option, "warm_memory_mb", int, 0, 1_000_000),
        warm_idle_children=_number(option, "warm_idle_children", int, 0, 64),
    )


def _reader(conf: Conf) -> Callable[[str], str]:
    def option(name: str) -> str:
        value = conf.get(SECTION, name, fallback=DEFAULTS[name])
        return "" if value is None else str(value).strip()

    return option


def _global(section: str, key: str, fallback: str) -> str:
    """An option of Airflow itself: teams don't have their own."""
    from airflow.configuration import conf

    value = conf.get(section, key, fallback=fallback)
    return fallback if value is None else str(value).strip()


def _invalid(name: str, value: str, allowed: str) -> InvalidSetting:
    return InvalidSetting(name, "***" if OPTIONS[name].get("sensitive") else value, allowed)


def _number(option: Callable[[str], str], name: str, kind: type[_T], low: float, high: float) -> _T:
    text = option(name)
    what = "whole number" if kind is int else "number"
    error = _invalid(name, text, f"must be a {what} from {low:g} to {high:,g}".replace(",", ""))
    try:
        value = kind(text)
    except ValueError:
        raise error from None
    if not low <= value <= high:  # also refuses nan
        raise error
    return value


def _one_of(option: Callable[[str], str], name: str, words: tuple[str, ...]) -> str:
    text = option(name).lower()
    if text not in words:
        raise _invalid(name, option(name), f"must be one of {', '.join(words)}")
    return text


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _hosts(text: str) -> str:
    try:
        return parse_servers(text)
    except InvalidServers as error:
        raise _invalid("hosts", text, str(error)) from None


def _root(text: str) -> str:
    parts = text.split("/")
    if not _ROOT.match(text) or "." in parts or ".." in parts or parts[1] == "zookeeper":
        raise _invalid(
            "root",
            text,
            "must be a path such as /zk-executor, without a slash at its end, of letters, digits "
            "and _ . -, and not ZooKeeper's own /zookeeper",
        )
    return text


def _digest_auth(text: str) -> str:
    user, colon, password = text.partition(":")
    if text and not (user and colon and password):
        raise _invalid("digest_auth", text, "must be user:password, or empty")
    return text


def _encryption_secret(text: str) -> bytes:
    if text:
        secret = text.encode()
        if len(secret) < _SHORTEST_SECRET:
            raise _invalid("encryption_key", text, f"needs at least {_SHORTEST_SECRET} characters")
        return secret
    secret = _global("api", "secret_key", "").encode()
    if len(secret) < _SHORTEST_SECRET:
        raise InvalidSetting(
            "secret_key",
            "***" if secret else "",
            f"needs at least {_SHORTEST_SECRET} characters, because workloads are encrypted with "
            f"it while [{SECTION}] encryption_key is empty; set either, the same everywhere",
            section="api",
        )
    return secret


def _default_queue() -> str:
    return _global("operators", "default_queue", "default") or "default"


def _worker_host(text: str) -> str:
    if re.search(r"[\s/]", text):
        raise _invalid("worker_host", text, "must be a host name, without spaces or slashes")
    return text


def _http_host(text: str) -> str:
    if not text or re.search(r"[\s/]", text):
        raise _invalid("worker_http_host", text, "must be an address such as 0.0.0.0")
    return text


def _journal_dir(text: str) -> str:
    if not text:
        from airflow.configuration import AIRFLOW_HOME

        return os.path.join(os.path.abspath(AIRFLOW_HOME), "zk-worker")
    path = os.path.expanduser(text)
    if not os.path.isabs(path):
        raise _invalid("worker_journal_dir", text, "must be an absolute path")
    return path


def _log_level(text: str) -> str:
    if text.lower() not in LOG_LEVELS:
        raise _invalid("worker_log_level", text, f"must be one of {', '.join(LOG_LEVELS)}")
    return text.lower()


def _modules(text: str) -> tuple[str, ...]:
    modules = _names(text)
    for module in modules:
        if not _MODULE.match(module):
            raise _invalid("preload", text, f"{module!r} is not the name of a Python module")
    return modules


def _log_server_port() -> int:
    text = _global("logging", "worker_log_server_port", "8793")
    try:
        port = int(text)
    except ValueError:
        port = 0
    if not 0 < port < 65536:
        raise InvalidSetting(
            "worker_log_server_port",
            text,
            "must be a port from 1 to 65535",
            section="logging",
        )
    return port
