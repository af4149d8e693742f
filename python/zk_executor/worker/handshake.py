# SPDX-License-Identifier: Apache-2.0
"""
What ``zk-worker`` needs of Airflow's configuration, read once, before anything is forked.

The C++ side never parses airflow.cfg: whatever Airflow would answer in this environment
(files, ``AIRFLOW__…`` variables, ``_CMD``, ``_SECRET``, provider defaults) is the answer.
"""

from __future__ import annotations

import os
import re
from typing import Any

# Tasks inherit our environment; none of these is theirs to see. The zygote is
# started anew without them once the handshake has read what it needs.
_SECRET_VARIABLE = re.compile(
    r"AIRFLOW__("
    # [webserver] secret_key and [core] sql_alchemy_conn are older names that Airflow still reads.
    r"(API|WEBSERVER)__SECRET_KEY"
    r"|API_AUTH__JWT_SECRET"
    r"|(DATABASE|CORE)__SQL_ALCHEMY_CONN(_ASYNC)?"
    r"|(.+___)?ZK_EXECUTOR__(ENCRYPTION_KEY|DIGEST_AUTH)"  # with a team's name in front
    r")(_CMD|_SECRET)?",
    re.DOTALL,
)


def read() -> dict[str, Any]:
    """
    Return the handshake's values, all plain JSON.

    Raises zk_executor.settings.InvalidSetting or Airflow's configuration errors, both with
    messages that name the option.
    """
    from airflow import __version__ as airflow_version
    from airflow.configuration import conf
    from airflow.executors.base_executor import get_execution_api_server_url
    from airflow.providers_manager import ProvidersManager
    from airflow.sdk import __version__ as sdk_version
    from airflow.utils.net import get_hostname

    ProvidersManager().initialize_providers_configuration()

    from zk_executor import __version__
    from zk_executor.get_provider_info import WORKER_SLOTS_MAX
    from zk_executor.settings import read_executor_settings, read_worker_settings
    from zk_executor.worker import exposed_secrets, installed, supervise_facts

    shared = read_executor_settings(conf)
    settings = read_worker_settings(conf)
    return {
        "airflow_version": airflow_version,
        "sdk_version": sdk_version,
        "zk_executor_version": __version__,
        "hosts": shared.hosts,
        "root": shared.root,
        "digest_auth": shared.digest_auth,
        "session_timeout_ms": shared.session_timeout_ms,
        "partitions": shared.partitions,
        "secret": shared.encryption_secret.decode(),
        "slots": settings.slots,
        "slots_max": WORKER_SLOTS_MAX,
        "queues": list(settings.queues),
        "configured_host": settings.host,
        "hostname": settings.host or get_hostname(),
        "http_host": settings.http_host,
        "http_port": settings.http_port,
        "drain_timeout_ms": int(settings.drain_timeout * 1000),
        "kill_grace_ms": int(settings.kill_grace * 1000),
        "relist_interval_ms": int(settings.relist_interval * 1000),
        "journal_dir": settings.journal_dir,
        "log_level": settings.log_level,
        "preload": list(settings.preload),
        "supervisor": settings.supervisor,
        "warm": settings.warm,
        "warm_memory_mb": settings.warm_memory_mb,
        "warm_idle_children": settings.warm_idle_children,
        "import_timeout_s": conf.getfloat("core", "dagbag_import_timeout", fallback=30.0),
        "dag_folders": installed.dag_folders(conf),
        "supervise": {} if settings.supervisor == "airflow" else supervise_facts.read(conf),
        "exposed_secrets": exposed_secrets.find(conf),
        "api_secret_key": conf.get("api", "secret_key", fallback=""),
        "base_log_folder": os.path.expanduser(
            conf.get_mandatory_value("logging", "base_log_folder")
        ),
        "log_clock_grace_s": conf.getint("webserver", "log_request_clock_grace", fallback=30),
        "execution_api_server_url": get_execution_api_server_url(),
        "bundle_cleanup_interval_s": conf.getint(
            "dag_processor", "stale_bundle_cleanup_interval", fallback=1800
        ),
    }


def clean_environment(environ: dict[str, str]) -> dict[str, str]:
    """The same environment without the secrets that only the worker may hold."""
    return {name: value for name, value in environ.items() if not _SECRET_VARIABLE.fullmatch(name)}
