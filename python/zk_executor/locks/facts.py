# SPDX-License-Identifier: Apache-2.0
"""Who contends: what a place shows of its task instance, and the name that all its tries share.

Threads: any. Nothing here asks ZooKeeper or Airflow's API.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import uuid
from collections.abc import Mapping
from typing import Any


def task_facts() -> dict[str, Any]:
    """The task instance that runs in this context; empty outside of one."""
    from airflow.sdk import get_current_context

    try:
        ti = get_current_context()["ti"]
    except RuntimeError:
        return {}
    return {
        "dag_id": ti.dag_id,
        "run_id": ti.run_id,
        "task_id": ti.task_id,
        "map_index": ti.map_index,
        "try_number": ti.try_number,
    }


def process_facts() -> dict[str, Any]:
    """Where this is."""
    return {"host": socket.gethostname(), "pid": os.getpid()}


def owner_id(task: Mapping[str, Any]) -> str:
    """The same for every try of a task instance, and in every process; random without one."""
    if not task:
        return uuid.uuid4().hex[:12]
    key = json.dumps([task["dag_id"], task["run_id"], task["task_id"], task["map_index"]])
    return hashlib.sha256(key.encode()).hexdigest()[:12]


def new_nonce() -> str:
    return uuid.uuid4().hex[:12]


def encode(facts: Mapping[str, Any]) -> bytes:
    """What stands in a znode: small, and readable by a person."""
    return json.dumps(facts, separators=(",", ":"), default=str).encode()


def decode(data: bytes) -> dict[str, Any]:
    """What stands in a znode; empty for what is none of ours."""
    try:
        facts = json.loads(data or b"{}")
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def told(facts: Mapping[str, Any]) -> str:
    """A contender in one line, for messages."""
    if "dag_id" not in facts:
        return f"process {facts.get('pid', '?')} on {facts.get('host', '?')}"
    mapped = f"[{facts['map_index']}]" if facts.get("map_index", -1) >= 0 else ""
    return (
        f"{facts['dag_id']}.{facts.get('task_id')}{mapped} of {facts.get('run_id')}, "
        f"try {facts.get('try_number')}, on {facts.get('host', '?')}"
    )
