# SPDX-License-Identifier: Apache-2.0
"""Tasks that push values which are hard to carry."""

from __future__ import annotations

from typing import Any

from conformance_tasks import plan


def push_values(ti: Any) -> None:
    """Every (key, value) of the plan, through Airflow's XCom backend."""
    for key, value in plan.read(ti)["values"]:
        try:
            ti.xcom_push(key=key, value=value)
            plan.note(ti, [key, "pushed"])
        except Exception as error:
            plan.note(ti, [key, type(error).__name__, str(error)[:200]])


def push_large(ti: Any) -> None:
    """Five megabytes of several kinds."""
    ti.xcom_push(key="text", value="x" * 5_000_000)
    ti.xcom_push(key="unicode", value="é漢" * 500_000)
    ti.xcom_push(key="numbers", value=list(range(300_000)))


def push_deep(ti: Any) -> None:
    """Nested 200 levels deep, lists and maps."""
    lists: Any = 1
    maps: Any = 1
    for _ in range(200):
        lists = [lists]
        maps = {"k": maps}
    for key, value in (("lists", lists), ("maps", maps)):
        try:
            ti.xcom_push(key=key, value=value)
            plan.note(ti, [key, "pushed"])
        except Exception as error:
            plan.note(ti, [key, type(error).__name__])


def pull_values(ti: Any) -> None:
    """What the API server has, as the task gets it."""
    for key in plan.read(ti)["keys"]:
        plan.note(ti, [key, ti.xcom_pull(task_ids="other", key=key)])
