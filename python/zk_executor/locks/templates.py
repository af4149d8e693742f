# SPDX-License-Identifier: Apache-2.0
"""Paths and keys of locks that are templates, ``/locks/{{ ds }}``, rendered in the task.

A decorator is made when the DAG file is parsed, long before there is a run. So it keeps the
template, and each call in a task renders it with that task's context, macros and filters. Nothing
is ever read from a file. Threads: the task's. Errors: ZookeeperLockError.
"""

from __future__ import annotations

from zk_executor import names
from zk_executor.locks.errors import ZookeeperLockError


def is_template(text: object) -> bool:
    return isinstance(text, str) and any(mark in text for mark in ("{{", "{%", "{#"))


def rendered(text: str, where: str) -> str:
    """The text itself if it is no template. ``where`` begins a message."""
    if not is_template(text):
        return text
    from airflow.sdk import get_current_context

    try:
        context = get_current_context()
    except RuntimeError:
        raise ZookeeperLockError(
            f"{where}: {names.quoted(text)} is a template, which only a task can render. "
            "Outside of one write what is meant, f'/locks/{name}'"
        ) from None
    try:
        return str(context["task"].get_template_env().from_string(text).render(context))
    except Exception as error:
        raise ZookeeperLockError(
            f"{where}: {names.quoted(text)} cannot be rendered: {type(error).__name__}: {error}"
        ) from error
