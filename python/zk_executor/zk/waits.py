# SPDX-License-Identifier: Apache-2.0
"""How long a call may wait for ZooKeeper, and how many requests are under way at once.

``within(5)`` around several requests gives them five seconds together; inside another one the
earlier end counts. Everything that waits through zk/ asks ``left`` for its time.

Threads: any; a limit belongs to the thread (or asyncio task) that set it. Pure, but for the clock.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

# Requests of one caller that are under way at the same time. More bring no speed: a server works
# on 1,000 of all its clients together (globalOutstandingLimit).
AT_ONCE = 100

_ends: ContextVar[float | None] = ContextVar("zk_wait_ends", default=None)


@contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """All that waits for ZooKeeper below this, together, waits so long at most. None: no limit."""
    outer = _ends.get()
    ends = None if seconds is None else time.monotonic() + seconds
    token = _ends.set(min((end for end in (outer, ends) if end is not None), default=None))
    try:
        yield
    finally:
        _ends.reset(token)


def left(seconds: float) -> float:
    """How long to wait now: so many seconds, or what is left of the limit; never negative."""
    ends = _ends.get()
    return seconds if ends is None else max(0.0, min(seconds, ends - time.monotonic()))


def answer_of(result: Any, seconds: float) -> Any:
    """The result of one of kazoo's asynchronous calls, of whatever client, in that time or less."""
    return result.get(timeout=left(seconds))


def pipelined(ask: Callable[[T], Any], items: Iterable[T]) -> Iterator[tuple[T, Any]]:
    """Asks for each item, at most AT_ONCE ahead of what has been taken; yields item and result.

    The caller waits for each result before it takes the next.
    """
    under_way: deque[tuple[T, Any]] = deque()
    for item in items:
        if len(under_way) >= AT_ONCE:
            yield under_way.popleft()
        under_way.append((item, ask(item)))
    yield from under_way
