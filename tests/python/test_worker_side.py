# SPDX-License-Identifier: Apache-2.0
"""The Python side of a worker, piece by piece; the whole is tested in tests/integration."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from zk_executor.worker import handshake, hostname, workload, zygote
from zk_executor.worker.channel import FRAME_BYTES_MAX, Channel, ChannelClosed

JSON = "application/json"
PYTHON = Path(__file__).resolve().parents[2] / "python"


def api_error(
    status: int,
    path: str,
    name: str = "ServerResponseError",
    body: str = '{"detail": "no"}',
    content_type: str = JSON,
) -> Exception:
    """As Airflow's client raises it."""
    error = type(name, (Exception,), {})(f"status {status}")
    error.request = httpx.Request("PATCH", f"http://api/execution/task-instances/1{path}")
    error.response = httpx.Response(
        status, content=body, headers={"content-type": content_type}, request=error.request
    )
    return error


@pytest.mark.parametrize("code", [0, None])
def test_exit_without_a_code_or_with_0_is_success(code: int | None) -> None:
    assert workload.outcome_of_exit(code) == {"outcome": "success", "info": ""}


def test_exit_by_sigkill_names_the_signal_and_the_likely_cause() -> None:
    outcome = workload.outcome_of_exit(-signal.SIGKILL)
    assert outcome["outcome"] == "failed"
    assert "SIGKILL" in outcome["info"]
    assert "memory" in outcome["info"]


def test_exit_with_a_code_tells_the_code() -> None:
    assert "code 3" in workload.outcome_of_exit(3)["info"]


@pytest.mark.parametrize(
    ("status", "path", "outcome"),
    [
        (401, "/run", "token"),
        (403, "/run", "token"),
        (404, "/run", "stale"),
        (409, "/run", "stale"),
        (500, "/run", "failed"),
        (403, "/state", "failed"),
        (409, "/state", "failed"),
    ],
)
def test_refusal_by_the_api_server_is_told_by_status_and_call(
    status: int, path: str, outcome: str
) -> None:
    assert workload.outcome_of_error(api_error(status, path))["outcome"] == outcome


@pytest.mark.parametrize("status", [404, 409])
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("<html>no such upstream</html>", "text/html"),
        ('{"detail": "not there"}', "text/plain"),
        ('{"message": "no Route matched with those values"}', JSON),
        ("[1]", JSON),
        ("no JSON", JSON),
    ],
)
def test_start_that_somebody_else_than_airflow_refuses_fails_with_its_reason(
    status: int, body: str, content_type: str
) -> None:
    error = api_error(status, "/run", "HTTPStatusError", body, content_type)
    outcome = workload.outcome_of_error(error)
    assert outcome["outcome"] == "failed"
    assert f"status {status}" in outcome["info"]


def test_task_that_already_runs_elsewhere_is_told_apart() -> None:
    error = api_error(409, "/run", "TaskAlreadyRunningError")
    assert workload.outcome_of_error(error)["outcome"] == "already_running"


def test_unreadable_workload_fails_without_quoting_it() -> None:
    outcome = workload.run('{"token": "eyJsecret", "type": "ExecuteTask"}', "http://localhost")
    assert outcome["outcome"] == "failed"
    assert "eyJsecret" not in outcome["info"]


def test_secrets_are_taken_out_of_the_environment_in_every_spelling() -> None:
    environment = {
        "AIRFLOW__API__SECRET_KEY": "1",
        "AIRFLOW__API__SECRET_KEY_CMD": "2",
        "AIRFLOW__API_AUTH__JWT_SECRET_SECRET": "3",
        "AIRFLOW__ZK_EXECUTOR__ENCRYPTION_KEY": "4",
        "AIRFLOW__ZK_EXECUTOR__DIGEST_AUTH": "5",
        "AIRFLOW__WEBSERVER__SECRET_KEY": "6",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "7",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC_CMD": "8",
        "AIRFLOW__CORE__SQL_ALCHEMY_CONN_SECRET": "9",
        "AIRFLOW__BLUE___ZK_EXECUTOR__DIGEST_AUTH": "10",
        "AIRFLOW__A__B___ZK_EXECUTOR__ENCRYPTION_KEY_CMD": "11",
        "AIRFLOW__BLUE___ZK_EXECUTOR__HOSTS": "kept",
        "AIRFLOW__API_AUTH__JWT_SECRET_NOT": "kept",
        "AIRFLOW__CORE__FERNET_KEY": "kept",
        "AIRFLOW__ZK_EXECUTOR__HOSTS": "kept",
        "PATH": "kept",
    }
    assert set(handshake.clean_environment(environment).values()) == {"kept"}


def test_configured_host_becomes_airflows_host_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.utils.net import get_hostname

    for name, value in hostname.environment("worker-1.example.org").items():
        monkeypatch.setenv(name, value)
    assert get_hostname() == "worker-1.example.org"
    assert hostname.environment("") == {}


@pytest.fixture
def ends() -> tuple[Channel, socket.socket]:
    ours, theirs = socket.socketpair()
    return Channel(ours), theirs


def test_channel_puts_split_frames_together(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    body = b'{"op": "run", "id": "\xc3\xa9"}'
    frame = struct.pack(">I", len(body)) + body
    other.sendall(frame + frame[:7])
    assert channel.receive() == [{"op": "run", "id": "é"}]
    other.sendall(frame[7:])
    assert channel.receive() == [{"op": "run", "id": "é"}]


def test_channel_sends_words_that_are_no_unicode_as_json_that_every_reader_takes(
    ends: tuple[Channel, socket.socket],
) -> None:
    channel, other = ends
    channel.send({"event": "exited", "info": os.fsdecode(b"no file \xff\x00 \xc3\xa9")})
    frame = other.recv(4096)
    assert struct.unpack(">I", frame[:4]) == (len(frame) - 4,)
    assert b"\\ud" not in frame
    assert json.loads(frame[4:])["info"] == "no file ?\x00 é"


def test_channel_closed_by_the_worker_is_told(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    other.close()
    with pytest.raises(ChannelClosed):
        channel.receive()
    with pytest.raises(ChannelClosed):
        channel.send({"event": "exited"})


def test_channel_refuses_a_frame_that_is_too_large(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    other.sendall(struct.pack(">I", FRAME_BYTES_MAX + 1))
    with pytest.raises(ChannelClosed):
        channel.receive()


STAGE = {
    "server": "http://localhost",
    "preload": [],
    "dag_folders": [],
    "bundle_cleanup_interval": 1800,
}


@pytest.mark.parametrize(
    "variables",
    [
        {"AIRFLOW__ZK_EXECUTOR__HOSTS": "zk1", "AIRFLOW__ZK_EXECUTOR__ENCRYPTION_KEY": "a key"},
        {"AIRFLOW__ZK_EXECUTOR__HOSTS": ""},
        {zygote.STAGE_VARIABLE: json.dumps(STAGE)},
    ],
    ids=["with its configuration", "with a refusal", "ready to serve"],
)
def test_zygote_whose_worker_has_gone_ends_without_a_word(variables: dict[str, str]) -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    command = [sys.executable, "-m", "zk_executor.worker.zygote", "--fd", str(theirs.fileno())]
    with theirs:
        done = subprocess.run(
            command,
            env={**os.environ, **variables, "PYTHONPATH": str(PYTHON)},
            pass_fds=[theirs.fileno()],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.stderr == ""
    assert done.returncode == 0
