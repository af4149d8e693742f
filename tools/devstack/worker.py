# SPDX-License-Identifier: Apache-2.0
"""A zk-worker process.

Threads: main thread only. Errors: DevStackError.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from devstack.processes import Child, DevStackError, descendants, wait_until

# The worker's own line, or its zygote's start, may be preceded by output of an earlier start.
READY = re.compile(r"worker ready .*?name=(\S+).*? http=(\S+)")


class ZkWorker:
    """One worker, from the virtual environment that runs us unless told otherwise.

    env is the Airflow configuration, AirflowStack.env. The worker's HTTP port is a free one
    unless given; Airflow's API server shows logs of running tasks only if it is
    AirflowStack.log_port.
    """

    def __init__(
        self,
        folder: Path,
        env: Mapping[str, str],
        *,
        name: str,
        slots: int = 16,
        queues: Sequence[str] = (),
        http_port: int = 0,
        options: Sequence[str] = (),
        program: Path | None = None,
        python: Path | None = None,
    ) -> None:
        self.name = name
        self.full_name = ""
        self.http = ""
        program = program or Path(sys.executable).parent / "zk-worker"
        argv: list[str | Path] = [program, "--python", python or sys.executable, "--name", name]
        argv += ["--slots", str(slots), "--http-port", str(http_port), *options]
        if queues:
            argv += ["--queues", ",".join(queues)]
        self.process = Child(f"worker {name}", argv, log=folder / f"worker-{name}.log", env=env)
        self._log_offset = 0

    def start(self, *, wait: bool = True) -> None:
        """Start it; with wait until it serves."""
        if self.process.log.exists():
            self._log_offset = self.process.log.stat().st_size
        self.process.start()
        if wait:
            self.wait_ready()

    def wait_ready(self, timeout: float = 180) -> None:
        """Wait for its ready line, which sets http (host:port) and full_name."""
        match = wait_until(
            lambda: READY.search(self.output()),
            f"worker {self.name} to be ready",
            timeout=timeout,
            needs=[self.process],
        )
        self.full_name = match[1]
        # It may listen on all addresses; one is enough to reach it.
        self.http = match[2].replace("0.0.0.0", "127.0.0.1")

    def output(self) -> str:
        """What it has written since its last start."""
        with self.process.log.open("rb") as log:
            log.seek(self._log_offset)
            return log.read().decode(errors="replace")

    def drain(self) -> None:
        """Ask it to take nothing new and to end when its tasks have."""
        self.process.send_signal(signal.SIGTERM)

    def stop(self, timeout: float = 30) -> int | None:
        """SIGTERM, wait, then kill whatever is left; returns the exit code."""
        return self.process.stop(timeout)

    @property
    def worker_pid(self) -> int:
        """The worker process, below its guardian, which is the process that was started."""
        below = descendants(self.process.pid)
        if not below:
            raise DevStackError(f"{self.process.name} has no worker process\n{self.process.tail()}")
        return below[0]

    def kill(self) -> None:
        """SIGKILL to the guardian alone: what it started must find out by itself."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def kill_worker_process(self) -> None:
        """SIGKILL to the worker process alone, and wait for its guardian to have cleaned up."""
        os.kill(self.worker_pid, signal.SIGKILL)
        self.process.wait(30)

    def __enter__(self) -> ZkWorker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
