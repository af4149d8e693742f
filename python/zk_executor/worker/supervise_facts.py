# SPDX-License-Identifier: Apache-2.0
"""
What the native supervisor needs of Airflow: a part of the handshake.

Every value comes from the installed Airflow, so that the C++ side holds no copy of its
defaults. ``refusal`` is the reason, as a fixed word, why no task of this worker can be
supervised natively; empty if they can.
"""

from __future__ import annotations

import sys
from typing import Any

from zk_executor.worker import api_proxy, api_trust, supervise_versions


def read(conf: Any) -> dict[str, Any]:
    """Return the facts, all plain JSON. Imports Airflow's SDK."""
    from airflow.executors.base_executor import get_execution_api_server_url
    from airflow.sdk._shared.secrets_masker import DEFAULT_SENSITIVE_FIELDS
    from airflow.sdk.api.datamodels._generated import API_VERSION
    from airflow.sdk.execution_time import supervisor

    names = set(DEFAULT_SENSITIVE_FIELDS)
    extra = conf.get("core", "sensitive_var_conn_names", fallback="") or ""
    names |= {name.strip().lower() for name in extra.split(",") if name.strip()}
    remote, processors = _remote_logs()
    proxy = api_proxy.choose(get_execution_api_server_url())
    return {
        "refusal": _refusal(conf, processors) or proxy.refusal,
        "dialect": supervise_versions.installed().dialect,
        "foreign_queues": sorted(_foreign_queues(conf)),
        "api_version": API_VERSION,
        "user_agent": _user_agent(),
        "unixname": _user(),
        "api_timeout_s": conf.getfloat("workers", "execution_api_timeout"),
        "api_retries": conf.getint("workers", "execution_api_retries"),
        "api_retry_wait_min_s": conf.getfloat("workers", "execution_api_retry_wait_min"),
        "api_retry_wait_max_s": conf.getfloat("workers", "execution_api_retry_wait_max"),
        "heartbeat_interval_s": conf.getfloat("workers", "min_heartbeat_interval"),
        "failed_heartbeats_max": conf.getint("workers", "max_failed_heartbeats"),
        "socket_cleanup_s": conf.getfloat("workers", "socket_cleanup_timeout"),
        "success_overtime_s": conf.getfloat("core", "task_success_overtime"),
        "killed_cleanup_s": conf.getfloat("core", "killed_task_cleanup_time", fallback=60.0),
        "log_file_mode": _mode(conf, "file_task_handler_new_file_permissions", 0o664),
        "log_folder_mode": _mode(conf, "file_task_handler_new_folder_permissions", 0o775),
        "log_level": _log_level(conf),
        "hide_sensitive_names": conf.getboolean(
            "core", "hide_sensitive_var_conn_fields", fallback=True
        ),
        "sensitive_names": sorted(names),
        "min_length_masked_secret": conf.getint("logging", "min_length_masked_secret", fallback=5),
        "remote_logs": remote,
        "segfault_message": str(getattr(supervisor, "SIGSEGV_MESSAGE", "")),
        **api_trust.authorities(conf),
        "certificate_file": conf.get("api", "client_ssl_cert", fallback="") or "",
        "key_file": conf.get("api", "client_ssl_key", fallback="") or "",
        "proxy_url": proxy.url,
        "proxy_user": proxy.user,
        "proxy_password": proxy.password,
    }


def _refusal(conf: Any, log_processors: bool) -> str:
    if not supervise_versions.installed().verified:
        return "airflow_version"
    if conf.get("logging", "secret_mask_adapter", fallback=None):
        return "secret_mask_adapter"
    if log_processors:
        return "remote_log_processors"
    if conf.getboolean("core", "execute_tasks_new_python_interpreter", fallback=False):
        return "new_python_interpreter"
    return ""


def _foreign_queues(conf: Any) -> list[str]:
    """The queues whose tasks another runtime than Python runs."""
    try:
        mapping = conf.getjson("sdk", "queue_to_coordinator", fallback={})
    except Exception:
        return []
    return list(mapping) if isinstance(mapping, dict) else []


def _remote_logs() -> tuple[bool, bool]:
    """Whether logs go elsewhere at the end, and whether each line is looked at on its way."""
    try:
        from airflow.sdk.log import load_remote_log_handler

        handler = load_remote_log_handler()
    except Exception:
        return False, True  # let Airflow's own supervisor say what is wrong with it
    return handler is not None, bool(getattr(handler, "processors", None))


def _log_level(conf: Any) -> int:
    """The level of the logger "task", to which stdout, stderr and the supervisor log."""
    import logging

    level = conf.get("logging", "logging_level", fallback="INFO") or "INFO"
    for pair in (
        (conf.get("logging", "namespace_levels", fallback="") or "").replace(",", " ").split()
    ):
        name, _, wanted = pair.partition("=")
        if name.strip() == "task" and wanted:
            level = wanted.strip()
    number = logging.getLevelName(level.upper())
    return number if isinstance(number, int) else logging.INFO


def _mode(conf: Any, option: str, fallback: int) -> int:
    return int(conf.get("logging", option, fallback=oct(fallback)), 8)


def _user() -> str:
    from airflow.sdk.api.client import getuser

    return getuser()


def _user_agent() -> str:
    from airflow.sdk import __version__ as sdk_version

    python = ".".join(map(str, sys.version_info[:3]))
    return f"apache-airflow-task-sdk/{sdk_version} (Python/{python})"
