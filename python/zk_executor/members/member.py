# SPDX-License-Identifier: Apache-2.0
"""What a member of a group shows of itself, and where. Pure; any thread."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from zk_executor.exceptions import ZookeeperError

GROUPS = "/zk_executor_members"
# A weight on the ring: each unit is ten points in the memory of whoever routes. The same as
# HashRing::kWeightMax.
SLOTS_MAX = 10_000
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}\Z")


class ZookeeperClusterError(ZookeeperError):
    """The cluster cannot be asked or told what was wanted."""


@dataclass(frozen=True)
class Member:
    """One living member. slots: its weight when keys are routed, 0 to SLOTS_MAX (0 counts as 1);
    only active ones get any."""

    name: str
    host: str = ""
    slots: int = 1
    queues: Sequence[str] = ()
    state: str = "active"
    facts: Mapping[str, Any] = field(default_factory=dict)

    def encode(self) -> bytes:
        return json.dumps(asdict(self) | {"queues": list(self.queues)}).encode()

    @classmethod
    def decode(cls, name: str, data: bytes) -> Member:
        """Whatever stands there; what cannot be read leaves the defaults, slots out of bounds 1."""
        try:
            found = json.loads(data)
            slots = found.get("slots", 1)
            return cls(
                name,
                str(found.get("host", "")),
                slots if slots_problem(slots) == "" else 1,
                tuple(found.get("queues", ())),
                str(found.get("state", "active")),
                dict(found.get("facts", {})),
            )
        except (ValueError, TypeError, AttributeError, RecursionError):
            return cls(name)


def slots_problem(slots: object) -> str:
    """What is wrong with them, for a message; nothing if they are fine."""
    if type(slots) is int and 0 <= slots <= SLOTS_MAX:
        return ""
    return f"slots is {slots!r}; it must be a whole number from 0 to {SLOTS_MAX}"


def check_name(what: str, name: str) -> str:
    """A name that is one part of a path. Errors: ZookeeperClusterError."""
    if not _NAME.match(name) or name in (".", ".."):
        raise ZookeeperClusterError(
            f"{name!r} is no name of a {what}: 1 to 128 of letters, digits, '_', '.' and '-'"
        )
    return name


def group_path(group: str) -> str:
    """Where the members of a group are."""
    return f"{GROUPS}/{check_name('group', group)}"


def nodes_for_ring(members: Iterable[Member], queue: str | None = None) -> list[tuple[str, int]]:
    """Who gets keys: the active, of that queue if one is named."""
    return [
        (member.name, member.slots)
        for member in members
        if member.state == "active" and (queue is None or queue in member.queues)
    ]


def distribution(owners: Iterable[str], nodes: Iterable[tuple[str, int]]) -> list[dict[str, Any]]:
    """A row for each node: its keys, and how they compare to its share by slots."""
    counted: dict[str, int] = {}
    for owner in owners:
        counted[owner] = counted.get(owner, 0) + 1
    nodes = sorted(nodes)
    slots, total = sum(max(1, weight) for _, weight in nodes), sum(counted.values())
    rows = []
    for name, weight in nodes:
        fair = total * max(1, weight) / slots
        keys = counted.get(name, 0)
        ratio = round(keys / fair, 3) if fair else None
        rows.append({"node": name, "slots": weight, "keys": keys, "of_fair_share": ratio})
    return rows
