# SPDX-License-Identifier: Apache-2.0
"""What a turn of the scheduler's loop costs with many dispatches out.

Threads: main thread only. Errors: DevStackError.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from devstack import DevStackError
from dispatch.programs import Bench

SCRIPT = Path(__file__).resolve().with_name("heartbeat_run.py")
NAMES = {"0": "0", "1000": "1k", "10000": "10k"}


def airflow_environment(home: Path) -> dict[str, str]:
    """An Airflow that has nothing; its database is never opened."""
    home.mkdir(parents=True, exist_ok=True)
    outside = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")}
    return {
        **outside,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__API__SECRET_KEY": "secret-of-the-benchmark",
        "AIRFLOW__API_AUTH__JWT_SECRET": "secret-of-the-benchmark-" + "x" * 48,
        "AIRFLOW__CORE__EXECUTOR": "ZkExecutor:zk_executor.ZkExecutor",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
    }


def heartbeat(bench: Bench) -> dict[str, Any]:
    """heartbeat() of the executor, as the scheduler calls it, with 0, 1,000 and 10,000 out."""
    calls = 200 if bench.quick else 2_000
    amounts = ["0", "1000"] if bench.quick else list(NAMES)
    root = bench.new_root("heartbeat")
    done = subprocess.run(
        [sys.executable, SCRIPT, bench.zookeeper.hosts, root, str(calls), *amounts],
        env=airflow_environment(bench.folder / "airflow"),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DevStackError(f"heartbeat_run.py failed\n{done.stderr[-2000:]}")
    figures = json.loads(done.stdout.splitlines()[-1])
    result: dict[str, Any] = {"heartbeat": figures}
    for amount, times in figures.items():
        result[f"heartbeat_p50_ms_{NAMES[amount]}"] = times["p50_ms"]
        result[f"heartbeat_p99_ms_{NAMES[amount]}"] = times["p99_ms"]
    return result
