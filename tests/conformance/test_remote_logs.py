# SPDX-License-Identifier: Apache-2.0
"""Logs kept elsewhere: a finished log is given to the handler that Airflow is configured with."""

from __future__ import annotations

from pathlib import Path

import pytest
from supervised import Supervised

from devstack import wait_until

DAG = """
from airflow.sdk import DAG, task
with DAG("d"):
    @task
    def say():
        print("to be kept")
    say()
"""
# What a deployment writes that keeps its logs where no provider of Airflow can put them.
CONFIG = """
import os
from pathlib import Path
from airflow.config_templates.airflow_local_settings import DEFAULT_LOGGING_CONFIG as LOGGING

class Shelf:
    processors = ()

    def upload(self, path, ti):
        if os.environ.get("SHELF_IS_FULL"):
            raise OSError("the shelf is full")
        path = Path(path)
        if path.is_absolute():
            path = path.relative_to({logs!r})
        kept = Path({shelf!r}) / path
        kept.parent.mkdir(parents=True, exist_ok=True)
        unfinished = kept.with_suffix(".part")
        unfinished.write_bytes((Path({logs!r}) / path).read_bytes())
        unfinished.rename(kept)
        (kept.parent / "of").write_text(ti.dag_id + " " + ti.task_id + " " + str(ti.try_number))

    def read(self, relative_path, ti):
        return [], []

REMOTE_TASK_LOG = Shelf()
"""


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The options of a deployment whose logs go to tmp_path/shelf."""
    modules = tmp_path / "modules"
    modules.mkdir()
    logs, shelf = str(tmp_path / "logs"), str(tmp_path / "shelf")
    (modules / "own_logging.py").write_text(CONFIG.format(logs=logs, shelf=shelf))
    monkeypatch.setenv("PYTHONPATH", str(modules), prepend=":")
    return {
        "AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS": "own_logging.LOGGING",
    }


def test_finished_log_is_uploaded_whole(tmp_path, folder, configured):
    with Supervised(tmp_path, **configured) as supervised:
        (supervised.dags / "dag.py").write_text(DAG)
        name = supervised.start("say")
        ended = supervised.end_of(name)
        kept = tmp_path / "shelf" / f"{name}.log"
        wait_until(kept.exists, "the log on the shelf", timeout=60)
        assert ended.outcome == "success"
        assert kept.read_bytes() == ended.path.read_bytes()
        assert "to be kept" in kept.read_text()
        of = kept.parent / "of"
        wait_until(of.exists, "whose log it is", timeout=10)
        assert of.read_text() == "d say 1"


def test_upload_that_fails_is_told_and_the_task_is_still_a_success(
    tmp_path, folder, configured, monkeypatch
):
    monkeypatch.setenv("SHELF_IS_FULL", "1")
    with Supervised(tmp_path, **configured) as supervised:
        (supervised.dags / "dag.py").write_text(DAG)
        ended = supervised.run("say")
        assert ended.outcome == "success"
        assert "to be kept" in ended.events
        wait_until(lambda: "the shelf is full" in supervised.said(), "the reason", timeout=60)
