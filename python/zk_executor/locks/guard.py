# SPDX-License-Identifier: Apache-2.0
"""Watches over a held place, and makes its loss loud.

ZooKeeper gives the place to the next contender when it has not heard of our session for the
session's timeout. The guard therefore asks for the place several times in that time, and counts
from when it *sent* the last question that was answered: after two thirds of the timeout without an
answer, well before any server can expire the session, the place counts as lost. It does at once
when the session has expired or the node is gone or somebody else's.

Threads: its own, a daemon; ``stop`` ends it. The loss is raised as an exception in the main thread
when the guard was made there (through SIGURG, whose default is to be ignored, so that a blocking
call is interrupted too), in another thread between two of its byte codes.
"""

from __future__ import annotations

import ctypes
import logging
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NoNodeError, SessionExpiredError

from zk_executor.locks.sessions import session_timeout

log = logging.getLogger(__name__)

SAFE_SHARE = 2 / 3
_QUESTIONS = 5  # in the time of a session's timeout
# Goes on while the machine sleeps, which the monotonic clock does not.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now() -> float:
    return time.clock_gettime(_CLOCK)


class LeaseClock:
    """Until when a place is surely ours, by the clock of its holder. Pure."""

    def __init__(self, timeout: float, started: float) -> None:
        self._safe = timeout * SAFE_SHARE
        self._sent = started

    def answered(self, sent: float) -> None:
        """A question that was sent then has been answered."""
        self._sent = max(self._sent, sent)

    def left(self, at: float) -> float:
        """Seconds for which it is safe to go on; none or less: it is not."""
        return self._sent + self._safe - at


class Guard:
    """Looks after one place from the moment at which ``started`` was read.

    on_lost is called once, in the guard's thread, with the reason.
    """

    def __init__(
        self, client: KazooClient, node: str, started: float, on_lost: Callable[[str], None]
    ) -> None:
        self._client = client
        self._node = node
        self._session = client.client_id
        timeout = session_timeout(client)
        self._pause = timeout / _QUESTIONS
        self._clock = LeaseClock(timeout, started)
        self._on_lost = on_lost
        self._wake = threading.Event()
        self._stopped = False
        self._reason = ""
        self._asked: tuple[float, Any] | None = None
        self._next = started  # when to ask again
        self._thread = threading.Thread(target=self._run, name=f"zk guard {node}", daemon=True)

    @property
    def reason(self) -> str:
        """Why the place is lost; empty while it is not. Judged anew at each call."""
        if not self._reason and self._clock.left(now()) <= 0:
            self._take_answer()
            if self._clock.left(now()) <= 0:
                self._reason = "ZooKeeper has been silent for longer than is safe"
        return self._reason

    def start(self) -> None:
        self._client.add_listener(self._on_state)
        self._thread.start()

    def stop(self) -> None:
        """No loss is told after this has returned, but from the guard's own thread."""
        self._stopped = True
        self._wake.set()
        self._client.remove_listener(self._on_state)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped:
            self._wake.clear()
            self._take_answer()
            if reason := self.reason:
                if not self._stopped:
                    self._on_lost(reason)
                return
            if self._asked is None and now() >= self._next:
                sent = now()
                self._next = sent + self._pause
                result = self._client.exists_async(self._node, watch=self._on_event)
                self._asked = (sent, result)
                result.rawlink(self._on_answer)
            due = self._next - now() if self._asked is None else self._pause
            self._wake.wait(max(0.0, min(due, self._clock.left(now()))))

    def _take_answer(self) -> None:
        asked = self._asked
        if asked is None or not asked[1].ready():
            return
        self._asked = None
        try:
            stat = asked[1].get(block=False)
        except SessionExpiredError:
            self._reason = "the ZooKeeper session expired"
        except NoNodeError:
            self._reason = "its znode was deleted"
        except KazooException:
            pass  # the clock goes on
        else:
            if stat is None:
                self._reason = "its znode was deleted, or its session has ended"
            elif self._session and stat.ephemeralOwner != self._session[0]:
                self._reason = "its znode belongs to another session"
            else:
                self._clock.answered(asked[0])

    def _on_event(self, _: Any) -> None:
        self._next = 0.0
        self._wake.set()

    def _on_answer(self, _: Any) -> None:
        self._wake.set()

    def _on_state(self, state: str) -> None:
        if state == "LOST" and not self._reason:
            self._reason = "the ZooKeeper session expired"
        self._wake.set()


class Interruption:
    """Raises an exception in the thread that made it. ``with`` it; not after its end.

    Main thread: by a signal; what it finds when it runs decides, so a late one does nothing.
    """

    def __init__(self, exception: Callable[[], BaseException]) -> None:
        self._exception = exception
        self._thread = threading.get_ident()
        self._main = threading.current_thread() is threading.main_thread()
        self._armed = False
        self._fired = False
        self._lock = threading.Lock()
        self._before: Any = None

    def __enter__(self) -> Interruption:
        if self._main:
            self._before = signal.signal(signal.SIGURG, self._handle)
        self._armed = True
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._armed = False
        if self._main:
            signal.signal(signal.SIGURG, self._before)

    def fire(self) -> None:
        """From another thread."""
        with self._lock:
            if not self._armed:
                return
            self._fired = True
            if self._main:
                signal.pthread_kill(self._thread, signal.SIGURG)
            else:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self._thread), ctypes.py_object(type(self._exception()))
                )

    def _handle(self, number: int, frame: Any) -> None:
        if self._armed and self._fired:
            self._fired = False
            raise self._exception()
        if callable(self._before):
            self._before(number, frame)
