# SPDX-License-Identifier: Apache-2.0
"""
Which secrets a worker's host can read although no worker needs them.

A task runs as the worker's user, so it can read every file and run every command that the
worker's configuration names. Called once by the handshake; the worker logs what comes of it. Every
way counts in which Airflow finds an option: files, variables, ``_CMD``, ``_SECRET``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError


def find(conf: Any) -> list[dict[str, str]]:
    """``{"option", "risk"}`` for each. ``conf`` is Airflow's; one that can't be read counts not."""
    return [
        {"option": f"[{section}] {key}", "risk": risk}
        for section, key, is_secret, risk in _OPTIONS
        if is_secret(_value(conf, section, key))
    ]


def _value(conf: Any, section: str, key: str) -> str:
    try:
        return str(conf.get(section, key, fallback="") or "")
    except (
        Exception
    ):  # a command that fails, a secrets backend that is away: no task gets it either
        return ""


def _has_password(url: str) -> bool:
    try:
        return bool(url and make_url(url).password)
    except ArgumentError:
        return False


def _can_be_read(path: str) -> bool:
    return bool(path) and os.access(path, os.R_OK)


_SIGNS = "with it a task can sign tokens, for every other task and for the API"
_READS = "with it a task can read and change Airflow's database"
_OPTIONS: tuple[tuple[str, str, Callable[[str], bool], str], ...] = (
    ("api_auth", "jwt_secret", bool, _SIGNS),
    ("api_auth", "jwt_private_key_path", _can_be_read, _SIGNS),
    ("database", "sql_alchemy_conn", _has_password, _READS),
    ("database", "sql_alchemy_conn_async", _has_password, _READS),
)
