# SPDX-License-Identifier: Apache-2.0
"""The client of the demo and the tests survives an API server that is busy for a moment."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from devstack import AirflowClient, AirflowStack, ApiError, DevStackError  # noqa: E402

Answer = tuple[int, object]


class Server(ThreadingHTTPServer):
    """Gives the answers of a list, in their order, to all requests but that for a token."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Answer] = []
        self.requests: list[tuple[str, object]] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        if self.path == "/auth/token":
            status, answer = 200, {"access_token": "t"}
        else:
            self.server.requests.append((f"{self.command} {self.path}", body))
            status, answer = self.server.answers.pop(0)
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PATCH = _serve

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def client(server: Server) -> AirflowClient:
    return AirflowClient(f"http://127.0.0.1:{server.server_port}", retry_interval=0)


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.dag_ids(),
        lambda client: client.import_errors(),
        lambda client: client.unpause("a"),
        lambda client: client.trigger("a"),
        lambda client: client.run_state("a", "r"),
        lambda client: client.run_states(),
        lambda client: client.tasks(),
        lambda client: client.log("a", "r", "t"),
    ],
)
def test_call_is_repeated_while_the_server_answers_5xx(
    server: Server, client: AirflowClient, call: Callable[[AirflowClient], object]
) -> None:
    empty = {"total_entries": 0, "state": "success", "content": []}
    empty |= {key: [] for key in ("dags", "import_errors", "dag_runs", "task_instances")}
    server.answers = [(500, {}), (503, {}), (200, empty)]
    call(client)
    assert len(server.requests) == 3
    assert len({json.dumps(request) for request in server.requests}) == 1


def test_trigger_succeeds_when_the_answered_5xx_had_started_the_run(
    server: Server, client: AirflowClient
) -> None:
    server.answers = [(500, {}), (409, {"detail": "exists"})]
    run_id = client.trigger("a")
    assert [body["dag_run_id"] for _, body in server.requests] == [run_id, run_id]


def test_trigger_fails_when_somebody_else_has_that_run(
    server: Server, client: AirflowClient
) -> None:
    server.answers = [(409, {"detail": "exists"})]
    with pytest.raises(ApiError, match="409"):
        client.trigger("a", run_id="taken")


def test_call_fails_at_once_when_the_answer_is_4xx(server: Server, client: AirflowClient) -> None:
    server.answers = [(404, {})]
    with pytest.raises(ApiError, match="404"):
        client.run_state("a", "r")
    assert len(server.requests) == 1


def test_waiting_for_dags_ends_at_once_with_file_and_error_when_one_cannot_be_imported(
    server: Server, tmp_path: Path
) -> None:
    stack = AirflowStack(tmp_path)
    stack.client = AirflowClient(f"http://127.0.0.1:{server.server_port}", retry_interval=0)
    trace = "Traceback\nModuleNotFoundError: No module named 'kazoo'\n"
    server.answers = [
        (200, {"dags": [{"dag_id": "good"}], "total_entries": 1}),
        (
            200,
            {"import_errors": [{"filename": "bad.py", "stack_trace": trace}], "total_entries": 1},
        ),
    ]
    with pytest.raises(DevStackError) as caught:
        stack.wait_dags(["good", "bad"])
    lines = str(caught.value).splitlines()
    assert "bad.py" in lines[0]
    assert lines[-1] == "ModuleNotFoundError: No module named 'kazoo'"
