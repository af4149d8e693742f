# SPDX-License-Identifier: Apache-2.0
"""The scenarios by name, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dispatch.celery_redis import celery
from dispatch.flow import paced, throughput, trickle, warm_up
from dispatch.heartbeat import heartbeat
from dispatch.programs import Bench
from dispatch.recovery import host_gone, worker_kill, zookeeper_restart
from dispatch.scale import backlog, moved_share, thousand_workers

SCENARIOS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "warm-up": warm_up,
    "throughput": throughput,
    "paced": paced,
    "trickle": trickle,
    "celery": celery,
    "heartbeat": heartbeat,
    "backlog": backlog,
    "moved-share": moved_share,
    "worker-kill": worker_kill,
    "host-gone": host_gone,
    "zookeeper-restart": zookeeper_restart,
    "thousand-workers": thousand_workers,
}
