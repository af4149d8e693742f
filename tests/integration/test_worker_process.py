# SPDX-License-Identifier: Apache-2.0
"""A real zk-worker on a real ZooKeeper, without Airflow's services: starts, refusals, ends."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kazoo.client import KazooClient
from kazoo.security import OPEN_ACL_UNSAFE, make_digest_acl

from devstack import ZkWorker, ZooKeeperServer
from devstack.processes import descendants, is_running, wait_until
from zk_executor import _core

BIN = Path(sys.executable).parent
SECRET = "an encryption key for tests"


@pytest.fixture
def root() -> str:
    return f"/test-{secrets.token_hex(8)}"


@pytest.fixture
def env(tmp_path: Path, zookeeper: ZooKeeperServer, root: str) -> dict[str, str]:
    outside = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")}
    return {
        **outside,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "ZkExecutor",
        "AIRFLOW__API__SECRET_KEY": "a secret key for logs",
        "AIRFLOW__ZK_EXECUTOR__HOSTS": zookeeper.hosts,
        "AIRFLOW__ZK_EXECUTOR__ROOT": root,
        "AIRFLOW__ZK_EXECUTOR__ENCRYPTION_KEY": SECRET,
        "AIRFLOW__ZK_EXECUTOR__PARTITIONS": "4",
    }


@pytest.fixture
def make_worker(tmp_path: Path, env: dict[str, str]) -> Iterator[Callable[..., ZkWorker]]:
    made: list[ZkWorker] = []

    def make(name: str = "w", **arguments) -> ZkWorker:
        worker = ZkWorker(tmp_path, {**env, **arguments.pop("env", {})}, name=name, **arguments)
        made.append(worker)
        return worker

    yield make
    for worker in made:
        worker.stop()


@pytest.fixture
def client(zookeeper: ZooKeeperServer) -> Iterator[KazooClient]:
    kazoo = KazooClient(zookeeper.hosts)
    kazoo.start()
    yield kazoo
    kazoo.stop()
    kazoo.close()


def get(worker: ZkWorker, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{worker.http}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def learn_address(worker: ZkWorker) -> None:
    """Sets ``worker.http`` of one that was started without waiting for it to be ready."""
    http = wait_until(
        lambda: next(
            (
                line.rsplit("http=", 1)[1]
                for line in worker.output().splitlines()
                if "worker starting" in line
            ),
            None,
        ),
        "the worker's address",
        timeout=60,
        needs=[worker.process],
    )
    worker.http = http.replace("0.0.0.0", "127.0.0.1")


def run(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*arguments], env=env, capture_output=True, text=True, timeout=120, check=False
    )


def run_worker(env: dict[str, str], *flags: str) -> subprocess.CompletedProcess[str]:
    return run(env, str(BIN / "zk-worker"), "--python", sys.executable, *flags)


def test_worker_serves_health_and_metrics_and_drains_on_sigterm(make_worker) -> None:
    worker = make_worker(slots=3)
    worker.start()
    assert get(worker, "/health/live")[0] == 200
    status, text = get(worker, "/health/ready")
    assert (status, json.loads(text)["session"]) == (200, "connected")
    metrics = get(worker, "/metrics")[1]
    assert "zkexec_worker_slots 3" in metrics
    assert "zkexec_worker_running" in metrics
    worker.drain()
    assert worker.process.wait(30) == 0


def test_worker_tells_what_an_operator_should_know_of_its_configuration(env) -> None:
    def risks(**variables: str) -> list[str]:
        done = run_worker({**env, **variables}, "--check-config")
        assert done.returncode == 0, done.stderr
        return [line for line in done.stderr.splitlines() if " warning " in line]

    (Path(env["AIRFLOW_HOME"]) / "airflow.cfg").write_text("[api_auth]\njwt_secret =\n")
    (opened,) = risks()
    assert "ZooKeeper is open" in opened and "[zk_executor] digest_auth" in opened
    signs, database = risks(
        AIRFLOW__ZK_EXECUTOR__DIGEST_AUTH="airflow:a-password",
        AIRFLOW__API_AUTH__JWT_SECRET_CMD="echo signs-all",
        AIRFLOW__DATABASE__SQL_ALCHEMY_CONN="postgresql+psycopg2://airflow:pass-word@db/airflow",
    )
    assert 'option="[api_auth] jwt_secret" risk="with it a task can sign tokens' in signs
    assert 'option="[database] sql_alchemy_conn" risk=' in database
    assert "pass-word" not in database and "signs-all" not in signs


def test_worker_waits_for_zookeeper_and_is_not_ready_until_then(
    make_worker, own_zookeeper: ZooKeeperServer
) -> None:
    own_zookeeper.stop()
    worker = make_worker(env={"AIRFLOW__ZK_EXECUTOR__HOSTS": own_zookeeper.hosts})
    worker.start(wait=False)
    learn_address(worker)
    assert get(worker, "/health/live")[0] == 200
    assert get(worker, "/health/ready")[0] == 503
    own_zookeeper.start()
    worker.wait_ready()
    assert get(worker, "/health/ready")[0] == 200


def test_tree_that_it_may_not_read_is_told_once_and_tried_again(make_worker, env, client) -> None:
    root = env["AIRFLOW__ZK_EXECUTOR__ROOT"]
    client.add_auth("digest", "someone:else")
    client.create(root, acl=[make_digest_acl("someone", "else", all=True)])
    worker = make_worker()
    worker.start(wait=False)
    learn_address(worker)

    def told() -> list[str]:
        return [line for line in worker.output().splitlines() if "cannot use ZooKeeper" in line]

    wait_until(told, "the refusal to be told", timeout=60, needs=[worker.process])
    assert "not authenticated" in told()[0]
    assert get(worker, "/health/live")[0] == 200
    assert get(worker, "/health/ready")[0] == 503
    client.set_acls(root, OPEN_ACL_UNSAFE)
    worker.wait_ready()
    assert len(told()) == 1


def test_port_already_taken_is_told_with_exit_code_3(env) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_worker(env, "--http-port", str(port))
    assert done.returncode == 3
    assert str(port) in done.stderr


@pytest.mark.parametrize(
    ("flags", "variables", "named"),
    [
        (["--slots", "0"], {}, "--slots"),
        (["--slots", "many"], {}, "--slots"),
        (["--queues", ","], {}, "--queues"),
        (["--root", "no-slash"], {}, "--root"),
        (["--no-such-flag"], {}, "--no-such-flag"),
        ([], {"AIRFLOW__ZK_EXECUTOR__WORKER_SLOTS": "many"}, "worker_slots"),
        ([], {"AIRFLOW__ZK_EXECUTOR__SESSION_TIMEOUT": "-1"}, "session_timeout"),
        ([], {"AIRFLOW__ZK_EXECUTOR__PRELOAD": "no_such_module"}, "no_such_module"),
        ([], {"ZK_WORKER_SLOTS": "0"}, "--slots"),
        (["--slots", "2049"], {}, "must be 1 to 2048, it is 2049"),
        (["--hosts", "::1:2181"], {}, "--hosts / [zk_executor] hosts: '::1:2181' is invalid"),
        ([], {"ZK_WORKER_HOSTS": "zk1:2181/a"}, "put it in front of the root"),
        ([], {"AIRFLOW__ZK_EXECUTOR__HOSTS": "zk1:zk2"}, "the port must be 1 to 65535"),
    ],
)
def test_invalid_option_is_named_with_exit_code_2(env, flags, variables, named) -> None:
    done = run_worker({**env, **variables}, "--http-port", "0", *flags)
    assert done.returncode == 2, done.stderr
    assert named in done.stderr


def test_reason_of_a_refused_option_is_the_last_line_that_an_operator_sees(env) -> None:
    done = run_worker(env, "--check-config", "--slots", "0")
    assert done.stderr.splitlines()[-1].startswith("zk-worker: --slots")
    assert "Traceback" not in done.stderr


def test_python_that_cannot_start_is_told_with_exit_code_4(env) -> None:
    done = run(env, str(BIN / "zk-worker"), "--python", "/no/such/python")
    assert done.returncode == 4
    assert "--python" in done.stderr


def test_check_config_shows_what_would_be_used_but_no_secret(env) -> None:
    done = run_worker(env, "--check-config", "--slots", "5")
    assert done.returncode == 0, done.stderr
    assert "slots=5" in done.stdout
    assert "Traceback" not in done.stderr
    done = run_worker(env, "--check-config", "--slots", "2048", "--hosts", "zk1 , [::1]")
    assert done.returncode == 0, done.stderr
    assert "hosts=zk1:2181,[::1]:2181\n" in done.stdout
    assert SECRET not in done.stdout + done.stderr
    assert "a secret key for logs" not in done.stdout + done.stderr


def test_airflow_zk_worker_becomes_zk_worker_with_its_flags(env) -> None:
    done = run(env, str(BIN / "airflow"), "zk", "worker", "--check-config", "--queues", "a,b")
    assert done.returncode == 0, done.stderr
    assert "queues=a,b" in done.stdout
    done = run(env, str(BIN / "airflow"), "zk", "worker", "--slots", "0")
    assert done.returncode == 2
    assert "--slots" in done.stderr


def test_worker_killed_by_sigkill_leaves_no_process(make_worker) -> None:
    worker = make_worker()
    worker.start()
    below = descendants(worker.process.pid)
    assert below
    worker.kill()
    wait_until(
        lambda: not any(is_running(pid) for pid in below),
        "its zygote to end",
        timeout=20,
    )


def test_zygote_that_dies_is_started_again(make_worker) -> None:
    worker = make_worker()
    worker.start()
    zygote = descendants(worker.worker_pid)[0]  # the nearest; below it are warm processes
    os.kill(zygote, signal.SIGKILL)
    wait_until(
        lambda: worker.output().count("zygote ready") == 2,
        "a second zygote",
        timeout=60,
        needs=[worker.process],
    )


def test_secrets_are_not_in_the_environment_that_tasks_inherit(make_worker) -> None:
    worker = make_worker()
    worker.start()
    zygote = descendants(worker.worker_pid)[0]  # the nearest; below it are warm processes
    environment = Path(f"/proc/{zygote}/environ").read_bytes()
    assert b"AIRFLOW_HOME" in environment
    assert SECRET.encode() not in environment
    assert b"a secret key for logs" not in environment


def test_bundle_versions_that_nobody_uses_are_removed(make_worker, tmp_path: Path) -> None:
    (tmp_path / "versioned_bundle.py").write_text(
        "from airflow.dag_processing.bundles.local import LocalDagBundle\n"
        "class VersionedBundle(LocalDagBundle):\n"
        "    supports_versioning = True\n"
    )
    bundles = [
        {
            "name": "versioned",
            "classpath": "versioned_bundle.VersionedBundle",
            "kwargs": {"path": str(tmp_path / "dags")},
        }
    ]
    storage = tmp_path / "bundles"
    unused = storage / "versioned" / "versions" / "v1"
    unused.mkdir(parents=True)
    tracking = storage / "_tracking" / "versioned"
    tracking.mkdir(parents=True)
    (tracking / "v1").write_text("2026-01-01T00:00:00+00:00")
    worker = make_worker(
        env={
            "PYTHONPATH": str(tmp_path),
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(storage),
            "AIRFLOW__DAG_PROCESSOR__STALE_BUNDLE_CLEANUP_INTERVAL": "1",
            "AIRFLOW__DAG_PROCESSOR__STALE_BUNDLE_CLEANUP_MIN_VERSIONS": "0",
            "AIRFLOW__DAG_PROCESSOR__STALE_BUNDLE_CLEANUP_AGE_THRESHOLD": "0",
        }
    )
    worker.start()
    wait_until(
        lambda: not unused.exists(),
        "the unused version to be removed",
        timeout=60,
        needs=[worker.process],
    )


def test_log_request_without_a_token_or_with_dots_is_refused(make_worker, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir(exist_ok=True)
    (logs / "a.log").write_text("secret line")
    worker = make_worker()
    worker.start()
    for path in ("/log/a.log", "/log/../airflow.cfg", "/log/%2e%2e/airflow.cfg"):
        status, text = get(worker, path)
        assert status in (400, 403), path
        assert "secret line" not in text


def test_foreign_and_newer_znodes_are_refused_with_a_metric_and_hinder_nobody(
    make_worker, client: KazooClient, root: str
) -> None:
    worker = make_worker()
    worker.start()
    queue = f"{root}/default/queues/default/0"
    client.create(f"{queue}/lock-0000000001", b"")
    # protocol_version = 99, dispatch_id = "newer", scheduler = "s"
    client.create(f"{queue}/7fffffff-018bcfe56800-newer", b"\x08\x63\x12\x05newer\x1a\x01s")
    wait_until(
        lambda: (
            'reason="newer_protocol"' in (text := get(worker, "/metrics")[1])
            and 'reason="unreadable"' in text
        ),
        "both refusals to be counted",
        timeout=30,
        needs=[worker.process],
    )
    assert get(worker, "/health/ready")[0] == 200
    assert len(client.get_children(queue)) == 2


def test_tree_of_another_version_is_refused_with_a_clear_message(
    make_worker, client: KazooClient, root: str
) -> None:
    client.create(f"{root}/default/meta", b"\x08\x63\x10\x04", makepath=True)
    worker = make_worker()
    worker.start(wait=False)
    wait_until(
        lambda: "protocol version 99" in worker.output(),
        "the refusal",
        timeout=60,
        needs=[worker.process],
    )


def session(zookeeper: ZooKeeperServer, root: str) -> _core.Session:
    return _core.Session(
        hosts=zookeeper.hosts,
        root=root,
        team="default",
        scheduler_id="s1",
        session_timeout_ms=10000,
        partitions=4,
        encryption_secret=SECRET.encode(),
        digest_auth="",
        max_workload_bytes=100_000,
    )


def placement(dispatch: str, workload: bytes, queue: str = "default") -> _core.Placement:
    return _core.Placement(
        dispatch_id=dispatch,
        queue=queue,
        kind="task",
        route_key="b||f.py",
        slots=1,
        priority=1,
        workload=workload,
        label=f"dag.task {dispatch}",
    )


def test_session_places_and_collects_through_a_real_worker(
    make_worker, zookeeper: ZooKeeperServer, root: str
) -> None:
    """A workload that Airflow can't read: the shortest way through everything."""
    executor = session(zookeeper, root)
    events: dict[str, _core.Event] = {}

    def collect(*wanted: str) -> bool:
        events.update((event.dispatch_id, event) for event in executor.drain_events())
        return all(one in events for one in wanted)

    try:
        executor.start()
        executor.place(
            [
                placement("d1", b'{"token": "x"}'),
                placement("d2", os.urandom(300_000).hex().encode()),
            ]
        )
        wait_until(lambda: collect("d2"), "the rejection", timeout=30)
        assert events["d2"].outcome == "rejected"
        assert "too large" in events["d2"].info
        with make_worker() as worker:
            wait_until(lambda: collect("d1"), "the result", timeout=60, needs=[worker.process])
        assert events["d1"].outcome == "failed"
        assert "unreadable workload" in events["d1"].info
        assert events["d1"].worker.startswith("w-")
    finally:
        executor.stop(5000)


def test_revoked_entry_is_gone_and_nobody_runs_it(zookeeper: ZooKeeperServer, root: str) -> None:
    executor = session(zookeeper, root)
    where = {
        "hosts": zookeeper.hosts,
        "root": root,
        "team": "default",
        "digest_auth": "",
        "timeout_ms": 10000,
    }

    def depth() -> int:
        return sum(row["depth"] for row in _core.inspect_queues(**where))

    try:
        executor.start()
        executor.place([placement("d1", b"{}")])
        wait_until(lambda: depth() == 1, "the entry", timeout=30)
        executor.revoke("d1")
        wait_until(lambda: depth() == 0, "its removal", timeout=30)
        assert executor.drain_events() == []
    finally:
        executor.stop(5000)


def test_cli_tells_how_to_go_on_when_zookeeper_cannot_be_reached(env) -> None:
    unreachable = {**env, "AIRFLOW__ZK_EXECUTOR__HOSTS": "127.0.0.1:1"}
    done = run(unreachable, str(BIN / "airflow"), "zk", "workers")
    assert done.returncode == 1
    assert "127.0.0.1:1" in done.stderr


def test_coordinator_contract_holds_on_a_real_server(zookeeper: ZooKeeperServer) -> None:
    builds = Path(__file__).parents[2] / ".build"
    found = [builds / name / "tests" / "coordinator_contract_test" for name in ("asan", "dev")]
    program = next((path for path in found if path.exists()), None)
    if program is None:
        pytest.skip("no C++ tests are built: make asan, or make dev")
    done = run(
        {**os.environ, "ZKEXEC_TEST_HOSTS": zookeeper.hosts}, str(program), "--gtest_filter=*real"
    )
    assert done.returncode == 0, done.stdout
    assert "SKIPPED" not in done.stdout
