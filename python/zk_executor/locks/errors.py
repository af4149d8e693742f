# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with a lock. Each message names the connection, the path and what to do."""

from __future__ import annotations

from zk_executor.exceptions import ZookeeperError


class ZookeeperLockError(ZookeeperError):
    """A lock, semaphore or barrier cannot be used as it was asked to be."""


class ZookeeperLockTimeout(ZookeeperLockError):
    """It was not this contender's turn in time. It no longer stands in line."""


class ZookeeperLockLost(ZookeeperLockError):
    """The lock may be somebody else's by now: what ran under it was interrupted."""


class ZookeeperLockNotHeld(ZookeeperLockError):
    """It was released already, or never acquired."""
