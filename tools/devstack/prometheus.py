# SPDX-License-Identifier: Apache-2.0
"""Debian's Prometheus, which scrapes every second what it is told to.

Threads: main thread only. Errors: DevStackError; OSError while it can't be reached.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from devstack.processes import Child, DevStackError, free_port, wait_until


class PrometheusServer:
    """One server; targets are host:port by job, rules a rule file."""

    def __init__(
        self, folder: Path, *, targets: Mapping[str, Sequence[str]], rules: Path | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        configuration = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)] if rules else [],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": list(of_job)}]}
                for job, of_job in targets.items()
            ],
        }
        # YAML holds JSON.
        file = folder / "prometheus.yml"
        file.write_text(json.dumps(configuration))
        argv: list[str | Path] = ["prometheus", f"--config.file={file}"]
        argv += [f"--storage.tsdb.path={folder / 'data'}"]
        argv += [f"--web.listen-address=127.0.0.1:{self.port}"]
        self.process = Child("prometheus", argv, log=folder / "prometheus.log")

    def start(self) -> None:
        self.process.start()
        wait_until(self._ready, "Prometheus to answer", timeout=60, needs=[self.process])

    def stop(self) -> None:
        self.process.stop(20)

    def ask(self, path: str, **query: str) -> Any:
        """The data of an answer of its API. Raises DevStackError if it refuses the question."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=20) as reply:
                return json.load(reply)["data"]
        except urllib.error.HTTPError as error:
            raise DevStackError(f"{url}: {error.read().decode()}") from error

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of an expression now."""
        return self.ask("query", query=expression)["result"]

    def firing(self) -> set[str]:
        """Names of the alerts that fire."""
        return {
            alert["labels"]["alertname"]
            for alert in self.ask("alerts")["alerts"]
            if alert["state"] == "firing"
        }

    def _ready(self) -> bool:
        # 503 while it opens its database.
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=20):
                return True
        except OSError:
            return False
