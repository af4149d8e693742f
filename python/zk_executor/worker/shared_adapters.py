# SPDX-License-Identifier: Apache-2.0
"""
What every task process would do again and could share, done once in the zygote.

Each step is an optimisation of code that is Airflow's: where that code looks different from
what we know, the step is left out, and tasks do the work themselves.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any


class _CachedAdapters:
    """pydantic's TypeAdapter, with one adapter per type for all who ask here."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self._make = make
        self._made: dict[Any, Any] = {}

    def __call__(self, type_: Any, **options: Any) -> Any:
        if options:
            return self._make(type_, **options)
        try:
            if type_ not in self._made:
                self._made[type_] = self._make(type_)
            return self._made[type_]
        except TypeError:  # not hashable
            return self._make(type_)

    def __getitem__(self, parameter: Any) -> Any:
        return self._make[parameter]  # type: ignore[index]


def share_adapters() -> None:
    """
    The decoder of the supervisor's messages, which each task builds twice, and the one of its
    rendered fields: building them takes 10 ms of a task's 50.
    """
    with contextlib.suppress(Exception):
        from airflow.sdk.execution_time import comms, task_runner
        from pydantic import JsonValue

        for module in (comms, task_runner):
            if callable(getattr(module, "TypeAdapter", None)):
                module.TypeAdapter = _CachedAdapters(module.TypeAdapter)  # type: ignore[attr-defined]
        comms.TypeAdapter(comms.ToTask)
        # msgspec keeps with the class what it finds out of its annotations: 2 ms.
        comms.msgspec.msgpack.Decoder(comms._ResponseFrame)
        task_runner.TypeAdapter(JsonValue)
