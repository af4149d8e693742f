# SPDX-License-Identifier: Apache-2.0
"""Makes the modules beside the tests, and tools/devstack, importable; a folder for each test."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "tools")]

from devstack import become_subreaper, kill_strays  # noqa: E402


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "e2e: starts a whole Airflow; takes up to minutes")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A new folder, which stays after a failure; at its end no process of ours may be left."""
    become_subreaper()
    place = HERE.parents[1] / ".build" / "chaos" / f"test-{os.getpid()}"
    shutil.rmtree(place, ignore_errors=True)
    yield place
    strays = kill_strays()
    assert not strays, "processes left behind:\n" + "\n".join(strays)
