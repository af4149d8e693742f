# SPDX-License-Identifier: Apache-2.0
"""Mutual exclusion through ZooKeeper for tasks and programs; see docs/locks.md."""

from __future__ import annotations

from zk_executor.locks.barrier import zk_barrier
from zk_executor.locks.lock import (
    current_lock,
    zk_lock,
    zk_read_lock,
    zk_semaphore,
    zk_write_lock,
)

__all__ = [
    "current_lock",
    "zk_barrier",
    "zk_lock",
    "zk_read_lock",
    "zk_semaphore",
    "zk_write_lock",
]
