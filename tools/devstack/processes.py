# SPDX-License-Identifier: Apache-2.0
"""Child processes that end with us, free ports, and waiting with a deadline.

Threads: main thread only (see the package). Errors: DevStackError.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

PORTS = "15000-32000"
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)
_ports_given: set[int] = set()


class DevStackError(RuntimeError):
    """Something did not start, answer or end in time."""


def free_port() -> int:
    """Return a TCP port that nobody uses and that this process has not returned before.

    It lies below the range that the kernel gives to outgoing connections, so that none of those
    takes it before its server does. ZKEXEC_TEST_PORTS ("15000-20000") narrows it down, so that test
    runs side by side don't take each other's.
    """
    first, _, last = os.environ.get("ZKEXEC_TEST_PORTS", PORTS).partition("-")
    for _ in range(1000):
        port = random.randint(int(first), int(last))
        if port in _ports_given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
        _ports_given.add(port)
        return port
    raise DevStackError(f"no free TCP port between {first} and {last}")


class Child:
    """One child process with a log file; it gets SIGKILL when this process dies.

    The object may be started again after it ended; its log is appended to.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
    ) -> None:
        self.name = name
        self.argv = [str(arg) for arg in argv]
        self.log = log
        self._env = dict(os.environ if env is None else env)
        self._cwd = cwd
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None
        self._asked = False
        self._family: list[int] = []

    def start(self) -> None:
        """Start the program in a session of its own. Raises DevStackError if it cannot be run."""
        if self.alive():
            raise DevStackError(f"{self.name} is running already, pid {self.pid}")
        self._asked = False
        self._family = []
        self.log.parent.mkdir(parents=True, exist_ok=True)
        as_user: dict[str, Any] = (
            {"user": self._user, "group": self._user, "extra_groups": []} if self._user else {}
        )
        with self.log.open("ab") as log:
            try:
                self._process = subprocess.Popen(
                    self.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=self._env,
                    cwd=self._cwd,
                    start_new_session=True,
                    # After the change of user, which would clear it.
                    preexec_fn=lambda: _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
                    **as_user,
                )
            except OSError as error:
                raise DevStackError(f"cannot start {self.name}: {error}") from error

    @property
    def pid(self) -> int:
        """Process id. Raises DevStackError when never started."""
        if self._process is None:
            raise DevStackError(f"{self.name} was not started")
        return self._process.pid

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def returncode(self) -> int | None:
        """Exit code, negative for a signal, None while running or never started."""
        return self._process.poll() if self._process else None

    def send_signal(self, number: int) -> None:
        """Send a signal to the process only, not to its children; nothing if it has ended."""
        if self.alive():
            os.kill(self.pid, number)

    def wait(self, timeout: float) -> int:
        """Wait for the end, return the exit code. Raises DevStackError after timeout seconds."""
        if self._process is None:
            raise DevStackError(f"{self.name} was not started")
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise DevStackError(
                f"{self.name} did not end within {timeout:g} s\n{self.tail()}"
            ) from None

    def kill(self) -> None:
        """SIGKILL the process, its descendants and its session, and reap it."""
        if self._process is None:
            return
        family = descendants(self._process.pid) if self.alive() else []
        self._end_session()
        self._process.wait(10)
        _kill_all(family)

    def ask_to_end(self, number: int = signal.SIGTERM) -> None:
        """Send the signal that asks the process to end, once however often this is called."""
        if self.alive() and not self._asked:
            self._asked = True
            self._family = descendants(self.pid)
            self.send_signal(number)

    def stop(self, timeout: float = 20, number: int = signal.SIGTERM) -> int | None:
        """Ask the process to end, then kill what is left of it and its descendants.

        Returns the exit code; None if it was never started.
        """
        if self._process is None:
            return None
        self.ask_to_end(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)
        self._end_session()
        self._process.wait(10)
        _kill_all(self._family)
        self._family = []
        return self._process.returncode

    def tail(self, lines: int = 30) -> str:
        """Return the end of the log, under a heading."""
        return tail(self.log, lines)

    def _end_session(self) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


def tail(path: Path, lines: int = 30) -> str:
    """Return the last lines of a file under a heading with its name."""
    try:
        text = path.read_text(errors="replace").splitlines()
    except OSError as error:
        return f"--- {path}: {error.strerror}"
    return "\n".join([f"--- last lines of {path}", *text[-lines:]])


def wait_until(
    condition: Callable[[], T | None],
    what: str,
    *,
    timeout: float,
    needs: Iterable[Child] = (),
    interval: float = 0.05,
    describe: Callable[[], str] | None = None,
) -> T:
    """Poll condition until it returns something true, and return that.

    what names the awaited thing in the error. needs are children without which waiting is
    pointless: the end of one ends the wait. describe may add the last state seen to the error.
    Raises DevStackError; exceptions of condition pass through.
    """
    needs = list(needs)
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        dead = [child for child in needs if not child.alive()]
        if dead:
            problem = ", ".join(
                f"{child.name} ended with code {child.returncode}" for child in dead
            )
        elif time.monotonic() >= deadline:
            problem = f"not within {timeout:g} s"
        else:
            time.sleep(interval)
            continue
        state = f"\n{describe()}" if describe else ""
        logs = "\n".join(child.tail() for child in dead or needs)
        raise DevStackError(f"waiting for {what}: {problem}{state}\n{logs}")


def become_subreaper() -> None:
    """Have orphans among our descendants become our children, so that kill_strays() finds them."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kill_strays() -> list[str]:
    """Kill every descendant of this process and return their command lines.

    For the very end, after everything was stopped: what it returns should be empty.
    """
    strays = []
    for _ in range(10):
        family = descendants(os.getpid())
        if not family:
            break
        for pid in family:
            if command := _command(pid):
                strays.append(f"{pid} {command}")
        _kill_all(family)
        for pid in family:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
    return strays


def is_running(pid: int) -> bool:
    """Whether a process is there and is not a zombie that only waits to be reaped."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def descendants(pid: int) -> list[int]:
    """Return the ids of the processes below pid, parents first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name in parentheses may hold spaces; the parent is the second field after it.
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, pending = [], [pid]
    while pending:
        below = children.get(pending.pop(), [])
        found += below
        pending += below
    return found


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        )
    return ""


def _kill_all(pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
