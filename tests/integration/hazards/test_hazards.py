# SPDX-License-Identifier: Apache-2.0
"""A task can't tell that it was forked: DAG files that could, under three ways to run tasks.

What they see is of the same kind under LocalExecutor, under ZkExecutor with Airflow's supervisor,
and under its own, whose tasks are forked from processes with modules imported ahead: equal where it
is equal under LocalExecutor, different in each task where it differs there.

Each file runs several times, before and after everything that it reads was changed, until its tasks
are really forked from warm processes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from outcome import DIFFERENT, NEW, OLD, differing, kinds
from rig import HAZARDS, HERE, TASKS_OF_A_ROUND, Lab, Outcome

from devstack import Child, PostgresServer, ZooKeeperServer, zk_executor_options
from devstack.airflow import ZK_EXECUTOR
from devstack.processes import wait_until

pytestmark = pytest.mark.e2e

OLD_THEN_NEW = {OLD: "old", NEW: "new"}
SUM = sum(range(50_000))
SURROUNDINGS = "surroundings"  # whatever LocalExecutor's tasks see
EXPECTED = {
    "arrow_threads": {"at_top": [SUM, 100_000], "in_task": [SUM, 100_000]},
    "child_process": {"child": DIFFERENT, "left": False},
    "database_connection": {"backend": DIFFERENT, "wrong": 0},
    "environment_at_top": {"loaded": "numpy", "threads": 1},
    "environment_in_helper": {"loaded": ["blas_settings", "numpy"], "threads": 1},
    "environment_in_task": {"loaded_before": False, "threads": 1},
    "environment_untouched": {"all_threads": True, "at_top": 300.0**3, "in_task": 300.0**3},
    "exit_at_top": {
        "after": ["atexit of the file", "atexit of the task", "finalize of the file"],
        "first": DIFFERENT,
        "folders": DIFFERENT,
        "left": [],
        "there": True,
    },
    "exit_of_installed": {"after": ["atexit of the package"], "loaded": "pandas"},
    "exits_at_top": {"ran": True},
    "file_edited": {"loaded": "pandas", "value": OLD_THEN_NEW},
    "files_read": dict.fromkeys(
        ["words", "pandas", "polars", "arrow_csv", "parquet"], OLD_THEN_NEW
    ),
    "grpc_channel": {"at_top": "top", "wrong": 0},
    "hangs_at_top": {"ran": True},
    "helper_deleted": {"value": OLD_THEN_NEW},
    "helper_edited": {"value": OLD_THEN_NEW},
    "helper_linked": {"value": OLD_THEN_NEW},
    "helper_shadows": {"loaded": "pandas", "value": OLD_THEN_NEW},
    "installed_client": {"connection": DIFFERENT, "wrong": 0},
    "library_patched": {"patch": "patched", "rows": 1},
    "library_unpatched": {"patch": "none", "rows": 5},
    "lock_held": {"locked": True, "others": False, "ours": True},
    "native_client": {"connection": DIFFERENT, "wrong": 0},
    "polars_threads": {"at_top": SUM, "in_task": SUM},
    "process_wide": {
        "level": 7,
        "locale": "C.UTF-8",
        "precision": 5,
        "recursion": 1234,
        "rows": 17,
        "umask": 0o027,
        "warning_raised": False,  # Airflow parses with warnings of its own
    },
    "random_at_top": {
        **dict.fromkeys(
            [
                *("numpy", "default_rng", "random", "uuid4", "uuid1", "secrets"),
                *("now", "monotonic", "getpid", "generator", "legacy", "random_object"),
            ],
            DIFFERENT,
        ),
        "own_pid": True,
    },
    "random_in_task": dict.fromkeys(
        ["numpy", "default_rng", "pandas", "random", "uuid4", "name"], DIFFERENT
    ),
    "seeded_at_top": {"numpy": 585903, "random": 339563},
    "signal_at_top": {"caught": [10]},
    "surroundings": SURROUNDINGS,
    "thread_at_top": {"alive": True, "answer": 2, "pool": [3, 5]},
}
# What tasks lack under Airflow's own supervision: what is forked has made finalizers (and with
# LocalExecutor has imported multiprocessing), and a task forgets what that registered for the exit.
NOT_FINALIZED = {"after": ["atexit of the file", "atexit of the task"], "left": DIFFERENT}
LACKS = {
    "local": {"child_process": {"left": True}, "exit_at_top": NOT_FINALIZED},
    "airflow": {"exit_at_top": NOT_FINALIZED},
    "native": {},
}
STATES = {hazard: {OLD: {"success"}, NEW: {"success"}} for hazard in HAZARDS}
STATES["exits_at_top"] = {OLD: {"success"}, NEW: {"failed"}}
SIDES = ("native", "airflow")


@pytest.fixture(scope="module")
def sockets(session_folder: Path) -> Iterator[Path]:
    """Where servers.py listens; a short path, as addresses of sockets have to be."""
    folder = Path(tempfile.mkdtemp(prefix="hazards-"))
    log = session_folder / "hazards-servers.log"
    servers = Child("servers", [sys.executable, HERE / "servers.py", folder], log=log)
    servers.start()
    try:
        wait_until((folder / "ready").exists, "the servers", timeout=30, needs=[servers])
        yield folder
    finally:
        servers.stop(5)
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def make_lab(
    session_folder: Path,
    sockets: Path,
    postgres: PostgresServer,
    airflow_database: Callable[[], str],
    zookeeper: ZooKeeperServer,
) -> Callable[..., Lab]:
    library = session_folder / "client.so"
    compiler = ["cc", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, HERE / "client.c"]
    subprocess.run(compiler, check=True)
    postgres.create_database("hazards")
    connection = f"host=127.0.0.1 port={postgres.port} user=postgres dbname=hazards"

    def make(name: str, **more: str) -> Lab:
        zk = {} if name == "local" else zk_executor_options(zookeeper, f"/test-hazards-{name}")
        return Lab(
            session_folder / f"hazards-{name}",
            sockets=sockets,
            client=library,
            connection=connection,
            database=airflow_database(),
            executor=ZK_EXECUTOR if zk else "LocalExecutor",
            options={**zk, **more},
        )

    return make


@pytest.fixture(scope="module")
def local(make_lab: Callable[..., Lab]) -> Outcome:
    with make_lab("local") as lab:
        return lab.run(rounds=1)


@pytest.fixture(scope="module")
def airflow(make_lab: Callable[..., Lab]) -> Outcome:
    with make_lab("airflow", AIRFLOW__ZK_EXECUTOR__SUPERVISOR="airflow") as lab:
        return lab.run(rounds=1)


@pytest.fixture(scope="module")
def native(make_lab: Callable[..., Lab]) -> Outcome:
    """At its defaults."""
    with make_lab("native") as lab:
        found = lab.run(rounds=0)
        found.hang = lab.hang()
        return found


def found_by(request: pytest.FixtureRequest, side: str) -> Outcome:
    return request.getfixturevalue(side)


def expected(hazard: str, side: str, local: Outcome) -> Mapping[str, object]:
    kind = EXPECTED[hazard]
    if kind == SURROUNDINGS:
        return kinds(local.of(hazard))
    return {**kind, **LACKS[side].get(hazard, {})}


def test_every_file_has_an_expectation() -> None:
    assert sorted(EXPECTED) == HAZARDS


@pytest.mark.parametrize("hazard", HAZARDS)
def test_file_sees_under_local_executor_what_is_expected(local: Outcome, hazard: str) -> None:
    """The ground for the comparison."""
    assert differing(kinds(local.of(hazard)), expected(hazard, "local", local)) == {}
    assert local.states[hazard] == STATES[hazard]


@pytest.mark.parametrize("hazard", HAZARDS)
@pytest.mark.parametrize("side", SIDES)
def test_file_sees_what_is_expected_as_under_local_executor(
    request: pytest.FixtureRequest, local: Outcome, side: str, hazard: str
) -> None:
    found = found_by(request, side)
    assert differing(kinds(found.of(hazard)), expected(hazard, side, local)) == {}
    assert found.states[hazard] == local.states[hazard]


def test_tasks_were_forked_from_warm_processes(native: Outcome) -> None:
    """Or the comparison would say nothing."""
    assert native.all_warm == {OLD: True, NEW: True}, (native.rounds, native.worker_log[-5000:])
    assert native.forked_from_warm >= 2 * TASKS_OF_A_ROUND
    parents = {one.hazard: one.parent for one in native.seen}
    for module, hazard in (
        *(("pandas", "random_in_task"), ("numpy", "random_at_top"), ("pandas", "files_read")),
        *(("pyarrow", "arrow_threads"), ("grpc", "grpc_channel"), ("numpy", "seeded_at_top")),
        *(("hazards_exit", "exit_of_installed"), ("psycopg2", "database_connection")),
    ):
        warm, _, imports = parents[hazard].partition(" -- ")
        assert warm == "zk-worker warm", parents
        assert module in imports.split(), parents
    # An import that connects is made by each task itself.
    assert "hazards_client" not in parents["installed_client"]
    assert "module=hazards_client reason=descriptors" in native.worker_log
    # Its thread would be in no task.
    assert "polars" not in parents["polars_threads"]
    assert "module=polars reason=threads" in native.worker_log
    # Set before numpy is imported, or the variable has no effect.
    assert "numpy" not in parents["environment_at_top"]
    assert "numpy" not in parents["environment_in_helper"]


def test_task_whose_parse_hangs_in_native_code_is_killed_and_drained(native: Outcome) -> None:
    assert native.hang is not None
    assert native.hang.kill.returncode == 0, native.hang.kill
    assert native.hang.killed == "failed"
    assert native.hang.drained == 0
