# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with an atomic change."""

from __future__ import annotations

from zk_executor.exceptions import ZookeeperError


class ZookeeperAtomicError(ZookeeperError):
    """Not done. Nothing was changed."""


class ZookeeperAtomicConflict(ZookeeperAtomicError):
    """A znode was not as the change wanted it: a stale version, or there, or not there."""


class ZookeeperAtomicUnknown(ZookeeperAtomicError):
    """ZooKeeper stayed away: it is not known whether it was done. The message says how to see."""
