# SPDX-License-Identifier: Apache-2.0
"""An ``airflow zk exporter`` process.

Threads: main thread only. Errors: DevStackError; OSError while it can't be reached.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from devstack.processes import Child, wait_until

READY = re.compile(r"exporter ready http=\S*:(\d+)")


class Exporter:
    """One exporter, from the virtual environment that runs us; its port is a free one."""

    def __init__(
        self, folder: Path, *, hosts: str, root: str, options: Sequence[str] = (), **env: str
    ) -> None:
        self.port = 0
        outside: Mapping[str, str] = {
            key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")
        }
        argv = [Path(sys.executable).parent / "airflow", "zk", "exporter", "--http-port", "0"]
        argv += ["--http-host", "127.0.0.1", "--interval", "1", "--timeout", "2", *options]
        self.process = Child(
            "exporter",
            argv,
            log=folder / "exporter.log",
            env={
                **outside,
                "AIRFLOW_HOME": str(folder),
                "AIRFLOW__API__SECRET_KEY": "a secret key for logs",
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW__ZK_EXECUTOR__HOSTS": hosts,
                "AIRFLOW__ZK_EXECUTOR__ROOT": root,
                **env,
            },
        )

    def start(self) -> None:
        self.process.start()
        found = wait_until(
            lambda: READY.search(self.process.log.read_text()),
            "the exporter to be ready",
            timeout=60,
            needs=[self.process],
        )
        self.port = int(found[1])

    def get(self, path: str) -> tuple[int, str]:
        """Status and body."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def json(self, path: str) -> Any:
        """The JSON of an answer, whatever its status."""
        return json.loads(self.get(path)[1])

    def metrics(self) -> dict[str, float]:
        """The value of each sample, by its name with its labels."""
        lines = self.get("/metrics")[1].splitlines()
        samples = [line.rpartition(" ") for line in lines if line and not line.startswith("#")]
        return {name: float(value) for name, _, value in samples}

    def stop(self) -> int | None:
        self.process.send_signal(signal.SIGTERM)
        return self.process.stop(30)
