# SPDX-License-Identifier: Apache-2.0
"""Which faults there are, and the plan of a run: what happens when, from a seed. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

# The session timeout of every client in a chaos run.
SESSION_TIMEOUT_SECONDS = 4.0


@dataclass(frozen=True)
class Kind:
    """A kind of fault; it lasts between these many seconds, then it is undone."""

    name: str
    least: float
    most: float
    weight: int = 1
    needs_network: bool = False
    usual: bool = True


_OVER = SESSION_TIMEOUT_SECONDS

KINDS = (
    Kind("worker_kill", 0, 3, weight=4),
    Kind("host_kill", 0, 3, weight=2),
    Kind("worker_stop", _OVER + 1, _OVER + 4, weight=2),
    Kind("worker_freeze", _OVER + 1, _OVER + 4),
    Kind("worker_pause", 0.5, 2.5),
    Kind("worker_drain", 4, 6),
    Kind("zygote_kill", 0, 0),
    Kind("worker_partition", 1, _OVER + 5, weight=2, needs_network=True),
    # Airflow adopts when a scheduler has not been heard of for longer than its session lasts.
    Kind("scheduler_kill", _OVER + 2, _OVER + 4, weight=2),
    Kind("scheduler_replace", 0, 1, usual=False),
    Kind("scheduler_stop", _OVER + 1, _OVER + 4),
    Kind("scheduler_partition", 1, _OVER + 5, needs_network=True),
    Kind("leader_kill", 0.5, 3, weight=2),
    Kind("follower_kill", 0.5, 3),
    Kind("leader_pause", 2, 5),
    Kind("leader_partition", 3, 6, needs_network=True),
    Kind("ensemble_restart", 0.5, 3),
)


@dataclass(frozen=True)
class Planned:
    """A fault to come: seconds after the start, and how long it stays. pick chooses the target."""

    at: float
    kind: str
    seconds: float
    pick: int


def plan(
    seed: int, seconds: float, *, mean_gap: float, network: bool, unusual: bool = False
) -> list[Planned]:
    """The faults of a run: first each kind once, in random order, then random ones.

    All of them begin before `seconds` unless the kinds alone need longer. unusual adds those that
    Airflow does not do: it adopts nothing while the dead scheduler's session may still live.
    """
    random = Random(f"faults-{seed}")
    usable = [
        kind for kind in KINDS if (network or not kind.needs_network) and (unusual or kind.usual)
    ]
    first = random.sample(usable, len(usable))
    planned: list[Planned] = []
    at = mean_gap
    while first or at < seconds:
        chosen = random.choices(usable, [one.weight for one in usable])[0]
        kind = first.pop() if first else chosen
        lasts = random.uniform(kind.least, kind.most)
        planned.append(Planned(at, kind.name, lasts, random.randrange(1 << 16)))
        at += random.uniform(0.4, 1.6) * mean_gap
    return planned
