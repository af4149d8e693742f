# SPDX-License-Identifier: Apache-2.0
"""
A process that reads one DAG file's source and says which modules are worth importing ahead.

A fork of the zygote, because a source can exhaust what reads it. One message to the worker:
``{"event": "scanned", "imports": [[name, [names]]], "paths", "reason", "detail"}``.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import Any, NoReturn

from zk_executor.worker import processes, top_level_imports
from zk_executor.worker.channel import Channel
from zk_executor.worker.installed import Installed
from zk_executor.worker.top_level_imports import Import

# A file system that does not answer is not waited for.
SECONDS_MAX = 20


def serve(what: dict[str, Any], parent: int) -> NoReturn:
    """Scan, tell, end. Never returns."""
    try:
        (fd,) = what["fds"]
        processes.die_with_parent(parent)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(SECONDS_MAX)
        channel = Channel(socket.socket(fileno=fd))
        channel.send({"event": "scanned", **scan(what)})
    finally:
        os._exit(0)


def scan(what: dict[str, Any]) -> dict[str, Any]:
    """Return the answer's fields. Never raises."""
    installed = Installed([*what["dag_folders"], what["bundle_path"]])
    try:
        found = top_level_imports.find(what["file"], what["bundle_path"], installed)
    except Exception as error:
        detail = f"{type(error).__name__}: {error}"[:300]
        return {"imports": [], "paths": [], "reason": "unreadable", "detail": detail}
    imports = [[one.name, list(one.names)] for one in found.imports if not is_loaded(one)]
    return {"imports": imports, "paths": list(found.paths.values()), "reason": "", "detail": ""}


def is_loaded(one: Import) -> bool:
    """Whether an import would find all that it wants in this process."""
    module = sys.modules.get(one.name)
    if module is None:
        return False
    return all(name in vars(module) or f"{one.name}.{name}" in sys.modules for name in one.names)
