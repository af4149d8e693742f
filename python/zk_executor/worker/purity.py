# SPDX-License-Identifier: Apache-2.0
"""
Watching a parse: what it depended on, and whether a copy of its result is as good as a new one.

A parse is pure if it read code only: no other file, no folder, no network, no process, no
request to the supervisor, not the name of the task that is to run. What it read of code is
recorded with the state that each file had before it was read.

Python's audit hooks can't be removed, and forks inherit them: a hook that is not active
returns at once. Linux only; one watch at a time.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from zk_executor.worker.forks import installed_prefixes

# Beside Python's own files: the same on every read, and read by libraries of good standing.
HARMLESS_FILES = ("/usr/share/zoneinfo/", "/etc/localtime", "/etc/timezone", "/dev/null",
                  "/dev/urandom", "/etc/mime.types", "/usr/share/", "/usr/lib/", "/proc/self/",
                  "/proc/cpuinfo", "/proc/meminfo", "/sys/", "/etc/ssl/")  # fmt: skip
NETWORK = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname",
           "socket.sendto", "socket.sendmsg")  # fmt: skip
PROCESS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork",
           "os.forkpty", "pty.spawn")  # fmt: skip
WRITES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink",
          "os.truncate", "os.chmod", "os.chown", "shutil.")  # fmt: skip
LISTINGS = ("os.listdir", "os.scandir")
# A file that was written this shortly before its state was taken may be written again
# without a change of its state: the clock of file systems has steps.
RACY_NS = 50_000_000

_active: Watch | None = None
_installed = False


class Watch:
    """One parse under observation."""

    def __init__(self) -> None:
        self.reason = ""
        self.detail = ""
        self.paths: dict[str, dict[str, Any] | None] = {}
        self._prefixes = installed_prefixes()

    def blame(self, reason: str, detail: str = "") -> None:
        """The parse is not pure. The first reason stays."""
        if not self.reason:
            self.reason, self.detail = reason, detail

    def depend_on(self, path: str) -> None:
        """Record a file or folder as it is now, before it is read."""
        path = os.path.abspath(path)
        if path not in self.paths and not self._is_installed(path):
            self.paths[path] = _state(path)

    def settle(self) -> list[dict[str, Any]]:
        """The dependencies, after the parse; blames those that changed under it."""
        now = time.time_ns()
        for path, before in self.paths.items():
            after = _state(path)
            if (
                before != after
                or after
                and max(after["mtime_ns"], after["ctime_ns"]) > now - RACY_NS
            ):
                self.blame("changing", path)
        return [state for state in self.paths.values() if state]

    def _is_installed(self, path: str) -> bool:
        return os.path.realpath(path).startswith(self._prefixes)

    def event(self, name: str, args: tuple[Any, ...]) -> None:
        if name == "open":
            self._open(args)
        elif name in LISTINGS:
            if not _importing():
                self._reads(args[0] if args else ".", "folder")
            else:
                self.depend_on(os.fsdecode(args[0] or "."))
        elif name in NETWORK:
            self.blame("network", name)
        elif name in PROCESS:
            self.blame("process", name)
        elif name.startswith(WRITES) and not _importing() or name == "sqlite3.connect":
            self.blame("file", name)

    def _open(self, args: tuple[Any, ...]) -> None:
        path, mode, flags = (*args, None, None)[:3]
        if not isinstance(path, (str, bytes, os.PathLike)):
            return  # a descriptor that is open already
        text = os.fsdecode(path)
        if _importing():
            if not text.endswith(".pyc") and "__pycache__" not in text:
                self.depend_on(text)
            return
        writes = isinstance(mode, str) and any(letter in mode for letter in "wax+")
        if writes or (isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)):
            if text not in HARMLESS_FILES:
                self.blame("file", text)
            return
        if text.endswith(".py"):  # inspect and linecache look at source
            self.depend_on(text)
            return
        self._reads(text, "file")

    def _reads(self, path: Any, what: str) -> None:
        if isinstance(path, int):
            return
        text = os.path.abspath(os.fsdecode(path))
        if not text.startswith(HARMLESS_FILES) and not self._is_installed(text):
            self.blame(what, text)


def _importing() -> bool:
    """Whether the import system itself is at work, and not code that it runs."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    name = frame.f_code.co_filename if frame is not None else ""
    return name.startswith("<frozen importlib") or "/importlib/metadata/" in name


def _state(path: str) -> dict[str, Any] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return {
        "path": path,
        "mtime_ns": found.st_mtime_ns,
        "ctime_ns": found.st_ctime_ns,
        "size": found.st_size,
        "inode": found.st_ino,
    }


def _hook(name: str, args: tuple[Any, ...]) -> None:
    if _active is not None:
        _active.event(name, args)


class _WatchedEnviron(type(os.environ)):  # type: ignore[misc]
    """os.environ, telling when the parse asks for which task it is done."""

    def __getitem__(self, key: Any) -> Any:
        if _active is not None and isinstance(key, str) and "PARSING_CONTEXT" in key:
            _active.blame("parsing_context", key)
        return super().__getitem__(key)


@contextlib.contextmanager
def watch() -> Iterator[Watch]:
    """Observe what runs inside."""
    global _active, _installed
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True
    plain = type(os.environ)
    watched = Watch()
    os.environ.__class__ = _WatchedEnviron
    _active = watched
    try:
        yield watched
    finally:
        _active = None
        os.environ.__class__ = plain
