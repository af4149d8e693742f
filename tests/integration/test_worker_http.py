# SPDX-License-Identifier: Apache-2.0
"""What strangers send to a worker's port, and what becomes of the tasks that it runs meanwhile."""

from __future__ import annotations

import contextlib
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_guardian import Site

from devstack import ZkWorker, ZooKeeperServer
from devstack.processes import wait_until

CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
# Each of these once cost a worker its life or its memory. With each, the status of the only answer.
NONSENSE = {
    "a negative chunk": (CHUNKED + b"-2\r\nx\r\n", 405),
    "a huge chunk": (CHUNKED + b"ffffffffffffffff\r\nx\r\n", 405),
    "a negative length": (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
    "a large body": (
        b"POST / HTTP/1.1\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 9_000_000,
        413,
    ),
    "a large head": (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 100_000, 431),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
}
TASK = "touch {folder}/started; while [ ! -e {folder}/go ]; do sleep 0.05; done"


@pytest.fixture
def site(tmp_path: Path, zookeeper: ZooKeeperServer) -> Iterator[Site]:
    one = Site(tmp_path, zookeeper)
    yield one
    one.close()


def send(worker: ZkWorker, data: bytes) -> bytes:
    """What the worker answers until it hangs up, whether or not it wanted to read all of this.

    The answer precedes the reset with which the kernel refuses the rest, so it is there to be read
    although writing has failed.
    """
    host, port = worker.http.rsplit(":", 1)
    answer = b""
    with socket.create_connection((host.strip("[]"), int(port)), timeout=20) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(data)
        with contextlib.suppress(ConnectionError):
            while received := client.recv(65536):
                answer += received
    return answer


def get(worker: ZkWorker, path: str) -> str:
    with urllib.request.urlopen(f"http://{worker.http}{path}", timeout=10) as answer:
        return answer.read().decode()


def test_worker_goes_on_with_its_task_after_each_nonsense(site: Site) -> None:
    worker = site.worker()
    site.place("d1", TASK.format(folder=site.folder))
    wait_until((site.folder / "started").exists, "the task", timeout=60, needs=[worker.process])
    pid = worker.worker_pid
    for what, (data, status) in NONSENSE.items():
        answer = send(worker, data)
        assert answer.startswith(b"HTTP/1.1 %d " % status), (what, answer)
        assert answer.count(b"HTTP/1.1 ") == 1, (what, answer)
        assert '"loop_turning":true' in get(worker, "/health/live"), what
    assert worker.worker_pid == pid
    assert 'zkexec_worker_http_requests_total{status="405"}' in get(worker, "/metrics")
    (site.folder / "go").touch()
    assert site.event("d1").outcome == "success"


def test_worker_serves_on_ipv6_and_says_where(site: Site) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 on this machine")
    worker = site.worker(http_host="::1")
    assert worker.http.startswith("[::1]:")
    assert '"status":"ok"' in get(worker, "/health/live")


def samples(worker: ZkWorker) -> dict[str, float]:
    lines = [line for line in get(worker, "/metrics").splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_worker_tells_what_it_does_and_what_waits_while_zookeeper_is_away(
    tmp_path: Path, own_zookeeper: ZooKeeperServer
) -> None:
    site = Site(tmp_path, own_zookeeper)
    try:
        worker = site.worker()
        idle = samples(worker)
        assert idle["zkexec_worker_ready"] == 1
        assert idle["zkexec_worker_lease_left_seconds"] > 0
        assert idle["zkexec_worker_open_descriptors"] > 0
        assert idle['zkexec_worker_workloads_started_total{kind="task"}'] == 0
        site.place("d1", TASK.format(folder=site.folder))
        wait_until((site.folder / "started").exists, "the task", timeout=60)

        def becomes(name: str, value: float) -> None:
            wait_until(lambda: samples(worker)[name] == value, f"{name} {value:g}", timeout=60)

        becomes("zkexec_worker_running_workloads", 1)
        now = samples(worker)
        assert now["zkexec_worker_slots_used"] == 1
        assert now["zkexec_worker_queue_wait_seconds_count"] == 1
        assert now["zkexec_worker_start_delay_seconds_count"] == 1
        own_zookeeper.kill()
        becomes("zkexec_worker_ready", 0)

        def reason() -> str:
            with pytest.raises(urllib.error.HTTPError) as refused:
                get(worker, "/health/ready")
            assert refused.value.code == 503
            return json.loads(refused.value.read())["error"]

        wait_until(lambda: own_zookeeper.hosts in reason(), "the reason", timeout=60)
        (site.folder / "go").touch()
        becomes("zkexec_worker_results_waiting", 1)
        now = samples(worker)
        assert now["zkexec_worker_running_workloads"] == 0
        assert now["zkexec_worker_journal_bytes"] > 0
        own_zookeeper.start()
        becomes("zkexec_worker_results_waiting", 0)
        becomes("zkexec_worker_journal_bytes", 0)
        assert site.event("d1").outcome == "success"
    finally:
        site.close()
