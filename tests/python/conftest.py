# SPDX-License-Identifier: Apache-2.0
"""A home for Airflow in a temporary directory, and a fake core, before anything is imported."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

_HOME = tempfile.TemporaryDirectory(prefix="zk-executor-tests-")
for _name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
    del os.environ[_name]
os.environ.update(
    {
        "AIRFLOW_HOME": _HOME.name,
        "AIRFLOW__API__SECRET_KEY": "a-secret-for-tests",
        "AIRFLOW__API_AUTH__JWT_SECRET": "another-secret-for-tests-" + "x" * 48,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_HOME.name}/airflow.db",
    }
)
os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = f"{_HOME.name}/hypothesis"
_ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(_ROOT / "python"), str(Path(__file__).parent)]

from fake_core import FakeCore  # noqa: E402

_CORE = FakeCore()
sys.modules["zk_executor._core"] = _CORE

import pytest  # noqa: E402

from workloads import Driver  # noqa: E402


@pytest.fixture
def core() -> FakeCore:
    """The fake core, without a past."""
    _CORE.reset()
    return _CORE


@pytest.fixture
def driver(core: FakeCore) -> Driver:
    """A started executor and its fake session."""
    return Driver(core)
