# SPDX-License-Identifier: Apache-2.0
"""What a person who waits is told: which step is under way, and the seconds that each one took.

Threads: main thread only. Errors: none of its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devstack.tables import table


class Steps:
    """Prints a line when a step begins and one when it ends, each after a prefix.

    Steps that another program took before come from a file with a name and seconds in each line,
    separated by a tab, such as tools/bootstrap.sh leaves it.
    """

    def __init__(self, prefix: str, before: Path | None = None) -> None:
        self._prefix = prefix
        self._seconds: list[tuple[str, float]] = []
        if before and before.exists():
            for line in before.read_text().splitlines():
                name, _, seconds = line.rpartition("\t")
                self._seconds.append((name, float(seconds)))

    def say(self, text: str) -> None:
        print(f"{self._prefix}: {text}", flush=True)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A step around what is done within; one that fails is not in the summary."""
        self.say(f"{name} …")
        started = time.monotonic()
        yield
        seconds = time.monotonic() - started
        self._seconds.append((name, seconds))
        self.say(f"{name}: done in {seconds:.1f} s")

    def summary(self) -> str:
        """A table of all steps. Those of the other program may have run at the same time."""
        return table(("step", "seconds"), [(name, f"{took:.1f}") for name, took in self._seconds])
