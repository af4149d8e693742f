# SPDX-License-Identifier: Apache-2.0
"""
What modules registered with ``atexit`` when they were imported ahead, for the tasks.

Airflow's task forgets all such handlers at its start, as they are its parent's, and runs at its end
those that came afterwards. A module that was imported ahead came before: so what it registered is
kept here, and registered again in each task, in the same order.
"""

from __future__ import annotations

import atexit
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

_kept: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = []


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Keep what is registered within."""
    register, unregister = atexit.register, atexit.unregister
    within = True

    def keeping_register(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        # A module may have taken this function for itself, and call it when we are long done.
        if within:
            _kept.append((func, args, kwargs))
        return register(func, *args, **kwargs)

    def keeping_unregister(func: Callable[..., Any]) -> None:
        if within:
            _kept[:] = [one for one in _kept if one[0] != func]
        unregister(func)

    atexit.register = keeping_register  # type: ignore[assignment]
    atexit.unregister = keeping_unregister  # type: ignore[assignment]
    try:
        yield
    finally:
        within = False
        atexit.register, atexit.unregister = register, unregister


def register_again() -> None:
    """In a task, once Airflow has made it forget all."""
    for func, args, kwargs in _kept:
        atexit.register(func, *args, **kwargs)
