# SPDX-License-Identifier: Apache-2.0
"""
What code does while it is imported that cannot be seen afterwards: which files it reads, writes and
makes, and whether it wants to be told of forks.

Standard functions are replaced by ones that note, for as long as a watch is active. Native code
passes them by. One thread.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import os
import tempfile
from collections.abc import Iterator
from typing import Any

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Which no file of anybody's is; and what the import system itself writes.
_NOBODYS = ("/dev/", "/proc/", "/sys/")


class Watch:
    """``made`` and ``read`` are paths, ``fork_hooks`` names; in their order."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.read: list[str] = []
        self.fork_hooks: list[str] = []

    def opened(self, file: Any, writes: bool) -> None:
        if isinstance(file, int) or not isinstance(file, (str, bytes, os.PathLike)):
            return
        path = os.path.abspath(os.fsdecode(file))
        if not path.startswith(_NOBODYS) and "__pycache__" not in path:
            (self.made if writes else self.read).append(path)


@contextlib.contextmanager
def watched() -> Iterator[Watch]:
    """Watch what is imported within."""
    watch = Watch()
    mkstemp: Any = tempfile._mkstemp_inner  # type: ignore[attr-defined]
    mkdir, low_open, high_open, at_fork = os.mkdir, os.open, builtins.open, os.register_at_fork

    def noting_mkstemp(*args: Any, **kwargs: Any) -> Any:
        found = mkstemp(*args, **kwargs)
        watch.made.append(str(found[1]))
        return found

    def noting_mkdir(path: Any, *args: Any, **kwargs: Any) -> None:
        mkdir(path, *args, **kwargs)
        watch.opened(path, True)

    def noting_low_open(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        found = low_open(path, flags, *args, **kwargs)
        watch.opened(path, bool(flags & _WRITES))
        return found

    def noting_high_open(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        found = high_open(file, mode, *args, **kwargs)
        # A folder is written to by tempfile, through an opener that makes a file in it.
        writes = isinstance(mode, str) and any(letter in mode for letter in "wax+")
        if not (writes and not isinstance(file, int) and os.path.isdir(file)):
            watch.opened(file, writes)
        return found

    def noting_at_fork(**hooks: Any) -> None:
        at_fork(**hooks)
        watch.fork_hooks += [getattr(one, "__qualname__", repr(one)) for one in hooks.values()]

    def replace(functions: tuple[Any, ...]) -> None:
        tempfile._mkstemp_inner = functions[0]  # type: ignore[attr-defined]
        os.mkdir, os.open, builtins.open, os.register_at_fork = functions[1:]
        io.open = builtins.open

    replace((noting_mkstemp, noting_mkdir, noting_low_open, noting_high_open, noting_at_fork))
    try:
        yield watch
    finally:
        replace((mkstemp, mkdir, low_open, high_open, at_fork))
