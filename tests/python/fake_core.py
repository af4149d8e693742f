# SPDX-License-Identifier: Apache-2.0
"""A recording stand-in for ``zk_executor._core``. Put into sys.modules by conftest.py."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any


class ZkError(Exception):
    pass


@dataclass(kw_only=True)
class Placement:
    dispatch_id: str
    queue: str
    kind: str
    route_key: str
    slots: int
    priority: int
    workload: bytes
    label: str

    def __post_init__(self) -> None:
        for name, kind in {"slots": int, "priority": int, "workload": bytes}.items():
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"{name} must be {kind.__name__}")
        for name in ("dispatch_id", "queue", "kind", "route_key", "label"):
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"{name} must be str")


@dataclass(frozen=True)
class Event:
    dispatch_id: str
    outcome: str
    info: str = ""
    worker: str = ""


@dataclass
class Session:
    """Records every call, the thread it came on, and raises where ``broken`` says so."""

    options: dict[str, Any]
    calls: list[tuple[str, Any]] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)
    events: list[Any] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    connected: bool = True
    live_slots: int = 1000

    def _called(self, name: str, argument: Any = None) -> None:
        self.calls.append((name, argument))
        self.threads.add(threading.get_ident())
        if name in self.broken:
            raise RuntimeError(f"{name} is broken")

    def start(self) -> None:
        self._called("start")

    def place(self, items: list[Placement]) -> None:
        self._called("place", list(items))

    def adopt(self, dispatches: list[tuple[str, str]], dead_schedulers: Sequence[str] = ()) -> None:
        self._called("adopt", (list(dispatches), list(dead_schedulers)))

    def revoke(self, dispatch_id: str) -> None:
        self._called("revoke", dispatch_id)

    def drain_events(self) -> list[Any]:
        self._called("drain_events")
        events, self.events = self.events, []
        return events

    def status(self) -> dict[str, object]:
        self._called("status")
        return {
            "connected": self.connected,
            "session_state": "connected" if self.connected else "connecting",
            "live_workers": 1,
            "live_slots": self.live_slots,
            "outstanding": 0,
            "strangers": 0,
            "last_error": "",
        }

    def stop(self, timeout_ms: int) -> None:
        self._called("stop", timeout_ms)

    def arguments(self, name: str) -> list[Any]:
        """The argument of each call of that name, in order."""
        return [argument for called, argument in self.calls if called == name]

    @property
    def placed(self) -> list[Placement]:
        return [item for items in self.arguments("place") for item in items]


class FakeCore(ModuleType):
    """The module: ``sessions`` holds what was made, ``refuse`` is raised by the constructor."""

    ZkError = ZkError
    Placement = Placement
    Event = Event

    def __init__(self) -> None:
        super().__init__("zk_executor._core")
        self.sessions: list[Session] = []
        self.inspections: list[dict[str, Any]] = []
        self.orders: list[dict[str, Any]] = []
        self.reset()

    def reset(self) -> None:
        self.sessions.clear()
        self.inspections.clear()
        self.orders.clear()
        self.refuse: Exception | None = None
        self.broken_from_start: set[str] = set()
        self.rows: list[dict[str, Any]] = []
        self.inspect_error: Exception | None = None
        self.outcome: Any = []

    def Session(self, **options: Any) -> Session:
        if self.refuse is not None:
            raise self.refuse
        session = Session(options, broken=set(self.broken_from_start))
        self.sessions.append(session)
        return session

    def inspect_workers(self, **options: Any) -> list[dict[str, Any]]:
        return self._inspect(options)

    def inspect_queues(self, **options: Any) -> list[dict[str, Any]]:
        return self._inspect(options)

    def _inspect(self, options: dict[str, Any]) -> list[dict[str, Any]]:
        self.inspections.append(options)
        if self.inspect_error is not None:
            raise self.inspect_error
        return self.rows

    def send_command(self, **options: Any) -> Any:
        self.orders.append(options)
        return self.outcome

    def kill_dispatch(self, **options: Any) -> Any:
        self.orders.append(options)
        return self.outcome
