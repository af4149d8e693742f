# SPDX-License-Identifier: Apache-2.0
"""
Linux's process facilities that Python has no names for, and the care for descendants.

Linux only. Safe to call from any thread.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_MADV_DONTNEED = 4
_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def become_subreaper(really: bool = True) -> None:
    """Orphans among our descendants become our children, so that none escapes; or no more."""
    _prctl(_PR_SET_CHILD_SUBREAPER, int(really))


def die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when ``parent``, which forked it, dies."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)


def unmap_clean_file_pages() -> None:
    """
    Give back this process's hold on the code of libraries, which stays in the page cache.

    For a process that only forks: forks don't inherit these pages anyway, but find them in the
    cache. Only mappings of which nothing was ever written are given back.
    """
    with contextlib.suppress(OSError, ValueError):
        for start, end in _clean_file_mappings():
            _libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_DONTNEED)


def _clean_file_mappings() -> list[tuple[int, int]]:
    """Of files, not writable, without a page of this process's own (relocations are such)."""
    found: list[tuple[int, int]] = []
    with open("/proc/self/smaps") as maps:
        current = None
        for line in maps:
            fields = line.split()
            if not fields[0].endswith(":"):
                begin, _, end = fields[0].partition("-")
                of_file = len(fields) > 5 and fields[5].startswith("/") and "w" not in fields[1]
                current = (int(begin, 16), int(end, 16)) if of_file else None
            elif fields[0] == "Anonymous:" and current is not None and fields[1] == "0":
                found.append(current)
    return found


def children(pid: int) -> list[int]:
    """The live children of a process; empty if it is gone."""
    found: list[int] = []
    for listing in _of_threads(pid, "children"):
        found += [int(child) for child in listing.split()]
    return found


def descendants(pid: int) -> list[int]:
    """Children, their children and so on, the nearest first."""
    found: list[int] = []
    for child in children(pid):
        found.append(child)
        found += descendants(child)
    return found


def other_threads() -> list[str]:
    """The names of this process's threads, native ones included, without the one that asks."""
    return [name.strip() for name in _of_threads(os.getpid(), "comm", but=os.getpid())]


def _of_threads(pid: int, name: str, but: int = 0) -> Iterator[str]:
    """What /proc says under a name of each thread of a process, but of those that end meanwhile."""
    threads: list[str] = []
    with contextlib.suppress(OSError):
        threads = os.listdir(f"/proc/{pid}/task")
    for thread in threads:
        if int(thread) == but:
            continue
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/{name}") as file:
            yield file.read()


def reap() -> Iterator[tuple[int, int, Any]]:
    """Our children that have ended, each waited for: its number, status and resources."""
    while True:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, status, usage


def kill(pid: int, number: int) -> None:
    """Send a signal; a process that is gone is no error."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def kill_all_descendants(pid: int) -> None:
    """SIGKILL until none is left. For a subreaper: nothing can be reparented away meanwhile."""
    while found := descendants(pid):
        for one in found:
            kill(one, signal.SIGKILL)
        try:
            while os.waitpid(-1, 0)[0]:
                pass
        except ChildProcessError:
            return
