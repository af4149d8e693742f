# SPDX-License-Identifier: Apache-2.0
"""Removes a barrier's old rounds.

A round goes a day after it opened. One that never opened goes when nobody has waited in it for
seven days: a party in its slot has an ephemeral node there, and the trigger of a deferred one
renews its node (barrier.RENEWED_AFTER). Whoever comes or is renewed at this moment stops the
removal, because each node is deleted at the version that was seen, and all in one transaction.

Threads: the caller's. Errors: none; what is not removed now is at the next time. Session: none.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NoNodeError

from zk_executor.zk import waits

# A day, and seven, in ZooKeeper's milliseconds.
OPEN_KEPT_MS = 24 * 3600 * 1000
UNOPENED_KEPT_MS = 7 * OPEN_KEPT_MS
# Seconds for one answer, and for all of a sweep, which is in no hurry.
_ANSWER = 10.0
_SWEEP_SECONDS = 5.0
_SWEPT_AT_ONCE = 100
_OPERATIONS_AT_ONCE = 500


def sweep(client: KazooClient, path: str, new: str) -> None:
    """Removes rounds below the barrier's path for which nobody has any use; ``new`` was just made.

    Looks at a hundred of them at most, and leaves for the next round what it does not come to.
    """
    with (
        waits.within(_SWEEP_SECONDS),
        suppress(KazooException, client.handler.timeout_exception),
    ):
        now = _ask(client.exists_async, new).ctime
        names = [name for name in _ask(client.get_children_async, path) if f"{path}/{name}" != new]
        for name in random.sample(names, min(len(names), _SWEPT_AT_ONCE)):
            with suppress(NoNodeError):  # somebody else sweeps as well
                _sweep_round(client, f"{path}/{name}", now)


def _sweep_round(client: KazooClient, path: str, now: int) -> None:
    opened = _ask(client.exists_async, f"{path}/open")
    if opened and now - opened.ctime <= OPEN_KEPT_MS:
        return
    if not opened and now - _ask(client.get_async, path)[1].ctime <= UNOPENED_KEPT_MS:
        return
    parties = f"{path}/parties"
    began = _ask(client.exists_async, parties) is not None
    names = _ask(client.get_children_async, parties) if began else []
    found = waits.pipelined(lambda name: client.exists_async(f"{parties}/{name}"), names)
    stats = {name: waits.answer_of(result, _ANSWER) for name, result in found}
    for stat in stats.values():
        # Somebody in its slot, or a deferred one whose trigger has renewed its node.
        if not opened and stat and (stat.ephemeralOwner or now - stat.mtime <= UNOPENED_KEPT_MS):
            return
    # Each at the version that was seen: whoever comes or is renewed meanwhile stops it.
    doomed = [(f"{parties}/{name}", stat.version) for name, stat in stats.items() if stat]
    while len(doomed) > _OPERATIONS_AT_ONCE:
        _delete(client, doomed[:_OPERATIONS_AT_ONCE])
        doomed = doomed[_OPERATIONS_AT_ONCE:]
    folders = [*([parties] if began else []), *([f"{path}/open"] if opened else []), path]
    _delete(client, doomed + [(folder, -1) for folder in folders])


def _delete(client: KazooClient, nodes: list[tuple[str, int]]) -> None:
    """All of them, or none."""
    transaction = client.transaction()
    for path, version in nodes:
        transaction.delete(path, version)
    waits.answer_of(transaction.commit_async(), _ANSWER)


def _ask(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return waits.answer_of(call(*args, **kwargs), _ANSWER)
