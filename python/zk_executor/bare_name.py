# SPDX-License-Identifier: Apache-2.0
"""Lets ``executor = ZkExecutor`` work, without a module path.

Airflow 3.3 resolves bare names of its own executors only. Every ``airflow …`` command loads the
CLI commands of all providers before it looks at the executor. Ours calls
``normalize_executor_setting``, which puts the full name into the environment. Child processes
inherit it. Nothing of Airflow is patched.

It can't reach a Python program that imports Airflow by itself, without the ``airflow`` command
(a script that calls ``dag.test(use_executor=True)``, an API server started by uvicorn directly).
There, write the full name: ``executor = ZkExecutor:zk_executor.ZkExecutor``.
"""

from __future__ import annotations

import os

BARE_NAME = "ZkExecutor"
FULL_NAME = "ZkExecutor:zk_executor.ZkExecutor"
_VARIABLE = "AIRFLOW__CORE__EXECUTOR"


def with_full_name(setting: str) -> str:
    """Replaces the bare name in a value of ``[core] executor``; all else stays as it is.

    The value is ``a,b;team1=c,d``: lists of executors, one for all, then one per team.
    """
    return ";".join(_team_with_full_name(team) for team in setting.split(";"))


def _team_with_full_name(team: str) -> str:
    name, equals, executors = team.rpartition("=")
    entries = (
        entry.replace(BARE_NAME, FULL_NAME) if entry.strip() == BARE_NAME else entry
        for entry in executors.split(",")
    )
    return name + equals + ",".join(entries)


def normalize_executor_setting() -> None:
    """Makes a bare name in ``[core] executor`` a full one, for this process and its children.

    Call it before Airflow reads its executors. Idempotent. Doesn't touch a setting without it.
    """
    from airflow.configuration import conf

    setting = conf.get("core", "executor", fallback="") or ""
    if (full := with_full_name(setting)) != setting:
        os.environ[_VARIABLE] = full
