# SPDX-License-Identifier: Apache-2.0
"""Fixtures: every selected case, run once on every side that the tests compare.

The sides' folders are in .build/conformance/<session>/, which stays after a failure so that logs
can be read.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

_HOME = tempfile.TemporaryDirectory(prefix="zk-executor-tests-")
for _name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
    del os.environ[_name]
os.environ["AIRFLOW_HOME"] = _HOME.name
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "tools")]

import pytest  # noqa: E402
from case import Case  # noqa: E402
from sides import Side  # noqa: E402

from devstack import become_subreaper, kill_strays  # noqa: E402


@pytest.fixture(scope="session")
def folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Folder of this session; at its end no process of ours may be left."""
    become_subreaper()
    folder = ROOT / ".build" / "conformance" / f"{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    yield folder
    strays = kill_strays()
    if not request.session.testsfailed:
        shutil.rmtree(folder, ignore_errors=True)
    assert not strays, "processes left behind:\n" + "\n".join(strays)


@pytest.fixture(scope="session")
def sides(request: pytest.FixtureRequest, folder: Path) -> Mapping[str, Side]:
    """The sides after they have run the cases of the selected tests, all at the same time."""
    cases: dict[str, Case] = {}
    names = {"airflow"}
    for item in request.session.items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        if isinstance(case := parameters.get("case"), Case):
            cases[case.name] = case
            names.add(parameters["side"])
    sides = {name: Side(name, folder) for name in sorted(names)}
    threads = [threading.Thread(target=_run, args=(side, cases)) for side in sides.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sides


def _run(side: Side, cases: Mapping[str, Case]) -> None:
    try:
        side.run(cases.values())
    except Exception as error:  # told by the tests of the cases that have no outcome
        side.failure = f"{type(error).__name__}: {error}"
