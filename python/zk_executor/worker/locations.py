# SPDX-License-Identifier: Apache-2.0
"""
Where DAG files lie, as their tasks find out: a bundle may have to ask the API server for its
connection before it knows, and only a task can ask.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from typing import Any

from zk_executor.worker import task_start

BYTES_MAX = 1 << 16
_KNOWN_MAX = 10_000


class Locations:
    """Those that a warm process has heard of; its forks tell it of others."""

    def __init__(self, told: socket.socket) -> None:
        self._told = told
        self._known: set[str] = set()

    def add(self, location: dict[str, Any]) -> bool:
        """Whether it is a new one."""
        key = _key(location["bundle"], location["version"], location["path"])
        if key in self._known:
            return False
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        self._known.add(key)
        return True

    def watch(self) -> None:
        """In a task: say where its file lies, unless that is known."""
        from airflow.sdk.execution_time import task_runner

        parse: Any = task_runner.parse

        def telling_parse(what: Any, *args: Any, **kwargs: Any) -> Any:
            found = parse(what, *args, **kwargs)
            task_start.end_parse()
            with contextlib.suppress(Exception):
                self._tell(what, found.bundle_instance.path)
            self._told.close()
            return found

        task_runner.parse = telling_parse

    def _tell(self, what: Any, bundle_path: Any) -> None:
        bundle, path = what.bundle_info, os.fspath(what.dag_rel_path)
        if _key(bundle.name, bundle.version, path) in self._known:
            return
        location = {
            "bundle": bundle.name,
            "version": bundle.version,
            "path": path,
            "file": os.path.join(os.fspath(bundle_path), path),
            "bundle_path": os.fspath(bundle_path),
        }
        text = json.dumps(location).encode()
        if len(text) < BYTES_MAX:
            with contextlib.suppress(OSError):
                self._told.send(text, socket.MSG_DONTWAIT)


def _key(bundle: str, version: str | None, path: str) -> str:
    return json.dumps([bundle, version, path])
