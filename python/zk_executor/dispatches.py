# SPDX-License-Identifier: Apache-2.0
"""Which dispatch is the current one of which workload, and what an outcome means for it.

A task is handed over several times under the same key: a retry of the hand-over, a resume after
deferral, a requeue. Only the latest dispatch speaks for the key, so results are looked up by
dispatch id, and those of earlier dispatches find nothing.

Pure bookkeeping: no Airflow, no I/O. One thread only, the scheduler's.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

TASK = "task"
CALLBACK = "callback"
CONNECTION_TEST = "connection_test"

# How often a workload whose token was refused is placed again with a fresh one.
MAX_TOKEN_ATTEMPTS = 3


@dataclass(slots=True)
class Dispatch:
    """One hand-over of one workload."""

    id: str
    key: Hashable
    kind: str
    queue: str
    # Kept to place it again. None: adopted from another scheduler, which had it.
    workload: Any = None
    token_attempts: int = 0


class Verdict(Enum):
    """What to do about an outcome."""

    SUCCEED = "succeed"
    FAIL = "fail"
    FORGET = "forget"
    PLACE_AGAIN = "place again"


def judge(dispatch: Dispatch, outcome: str) -> Verdict:
    """Says what an outcome of the core means for a current dispatch.

    An outcome that this version doesn't know is a failure: forgetting it would leak a slot.
    """
    if outcome == "success":
        return Verdict.SUCCEED
    if outcome == "token" and dispatch.workload is not None:
        again = dispatch.token_attempts < MAX_TOKEN_ATTEMPTS
        return Verdict.PLACE_AGAIN if again else Verdict.FAIL
    if outcome == "fenced":
        # Another scheduler has adopted our work: what became of this is for that one to say.
        return Verdict.FORGET
    if dispatch.kind == TASK and outcome in ("already_running", "stale", "token"):
        # Somebody else runs it, or Airflow wants something else by now: a report would fail the
        # other run. "token" here is an adopted task that never started: Airflow's check for tasks
        # stuck in queued makes it a new workload, and no try is spent.
        return Verdict.FORGET
    return Verdict.FAIL


class Dispatches:
    """The current dispatches, by id and by key."""

    def __init__(self) -> None:
        self._by_id: dict[str, Dispatch] = {}
        self._by_key: dict[Hashable, Dispatch] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Dispatch]:
        return iter(self._by_id.values())

    def put(self, dispatch: Dispatch) -> None:
        """Makes ``dispatch`` the current one of its key; an earlier one is forgotten."""
        earlier = self._by_key.get(dispatch.key)
        if earlier is not None:
            self._by_id.pop(earlier.id, None)
        self._by_id[dispatch.id] = dispatch
        self._by_key[dispatch.key] = dispatch

    def current(self, dispatch_id: str) -> Dispatch | None:
        """The dispatch of that id, unless a later one took its place."""
        return self._by_id.get(dispatch_id)

    def of_key(self, key: Hashable) -> Dispatch | None:
        return self._by_key.get(key)

    def forget(self, dispatch: Dispatch) -> None:
        """Drops ``dispatch``; a later one of the same key stays."""
        if self._by_id.get(dispatch.id) is dispatch:
            del self._by_id[dispatch.id]
        if self._by_key.get(dispatch.key) is dispatch:
            del self._by_key[dispatch.key]
