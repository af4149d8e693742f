# SPDX-License-Identifier: Apache-2.0
"""Fixtures: one ZooKeeper and one PostgreSQL for the session, and Airflow databases on demand.

Servers live in .build/integration/<session>/, which stays after a failure so that logs can be read.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from devstack import (  # noqa: E402
    AirflowStack,
    PostgresServer,
    ZooKeeperServer,
    become_subreaper,
    kill_strays,
)
from devstack.example_dags import ExampleFile  # noqa: E402

TEMPLATE = "airflow_template"
StackFactory = Callable[..., AirflowStack]
Outcome = TypeVar("Outcome")
_numbers = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "e2e: starts a whole Airflow; takes up to minutes")


@pytest.fixture(scope="session")
def session_folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Folder of this session; at its end no process of ours may be left."""
    become_subreaper()
    folder = ROOT / ".build" / "integration" / f"{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    yield folder
    strays = kill_strays()
    if not request.session.testsfailed:
        shutil.rmtree(folder, ignore_errors=True)
    assert not strays, "processes left behind:\n" + "\n".join(strays)


@pytest.fixture(scope="session")
def zookeeper(session_folder: Path) -> Iterator[ZooKeeperServer]:
    """A ZooKeeper for tests that do not stop it; give each test a root of its own."""
    with ZooKeeperServer(session_folder / "zookeeper") as server:
        yield server


@pytest.fixture
def own_zookeeper(tmp_path: Path, session_folder: Path) -> Iterator[ZooKeeperServer]:
    """A ZooKeeper that the test may stop, kill and start again."""
    with ZooKeeperServer(tmp_path / "zookeeper") as server:
        yield server


@pytest.fixture(scope="session")
def postgres(session_folder: Path) -> Iterator[PostgresServer]:
    """A PostgreSQL; see airflow_database for databases in it."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def airflow_database(postgres: PostgresServer, session_folder: Path) -> Callable[[], str]:
    """Returns the address of a new database with Airflow's tables at each call."""

    def create() -> str:
        if not postgres.has_database(TEMPLATE):
            url = postgres.create_database(TEMPLATE)
            AirflowStack(session_folder / "migrate", database=url).migrate()
        return postgres.create_database(f"airflow_{next(_numbers)}", template=TEMPLATE)

    return create


@pytest.fixture(scope="session")
def under_local_executor(
    session_folder: Path, airflow_database: Callable[[], str]
) -> Callable[[str, Sequence[ExampleFile], Callable[[AirflowStack], Outcome]], Outcome]:
    """Runs examples under LocalExecutor, to compare with, in an Airflow that has ended then.

    Takes the name of its folder, the examples, and what to do once they are there; returns what
    that returns.
    """

    def run(
        name: str, examples: Sequence[ExampleFile], use: Callable[[AirflowStack], Outcome]
    ) -> Outcome:
        stack = AirflowStack(
            session_folder / name,
            database=airflow_database(),
            executor="LocalExecutor",
            # A process for each; more of them would only keep each other waiting.
            parallelism=16,
        )
        for example in examples:
            stack.add_dags(example.files)
        try:
            stack.start()
            return use(stack)
        finally:
            stack.stop()

    return run


@pytest.fixture
def airflow_stack(
    request: pytest.FixtureRequest, session_folder: Path, airflow_database: Callable[[], str]
) -> Iterator[StackFactory]:
    """Makes Airflow stacks on PostgreSQL, not started; stops them after the test.

    Takes the keyword arguments of AirflowStack but home and database.
    """
    stacks: list[AirflowStack] = []

    def make(name: str = "airflow", **arguments: object) -> AirflowStack:
        test = re.sub(r"\W+", "-", request.node.name)
        stack = AirflowStack(session_folder / test / name, database=airflow_database(), **arguments)
        stacks.append(stack)
        return stack

    yield make
    for stack in stacks:
        stack.stop()
