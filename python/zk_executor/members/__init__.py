# SPDX-License-Identifier: Apache-2.0
"""Services that show in ZooKeeper that they live, and those who watch them; see docs/cluster.md."""

from __future__ import annotations

from zk_executor.members.member import Member, group_path
from zk_executor.members.registration import Registration
from zk_executor.members.watch import MemberWatch, list_members

__all__ = ["Member", "MemberWatch", "Registration", "group_path", "list_members"]
