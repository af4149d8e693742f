# SPDX-License-Identifier: Apache-2.0
"""An Execution API server that answers as it is told and records what it is asked, byte by byte.

One server serves many tasks at once. It tells them apart by their tokens: the token of a workload
is "<task>.0", and a refreshed one "<task>.1" and so on. What a task is answered is decided by the
rules given for it, then by the default answers (see answers.py).

Threads: one per connection; a script's counters are guarded by its own lock.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PREFIX = "/execution"
# Of a request's headers only these are recorded; the rest is the HTTP library's business.
RECORDED_HEADERS = (
    "authorization",
    "airflow-api-version",
    "content-type",
    "correlation-id",
    "traceparent",
    "tracestate",
    "user-agent",
)


@dataclass(frozen=True)
class Request:
    """One request as it came. The path has its query, and nothing was decoded."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def route(self) -> str:
        """The path without prefix and query."""
        return self.path.removeprefix(PREFIX).partition("?")[0]

    @property
    def task(self) -> str:
        """The task whose token it has, or nothing."""
        return self.headers.get("authorization", "").removeprefix("Bearer ").rpartition(".")[0]


@dataclass(frozen=True)
class Answer:
    """
    What the server does with a request.

    ``body`` is sent as it is if it is bytes, else as JSON; None means no body at all. ``delay``
    waits before, for as many seconds. ``broken`` is "" or one of: "reset" (the connection ends
    before a byte), "half" (it ends in the middle of the body), "nonsense" (not HTTP), "raw" (the
    body is all that is sent, with status line and headers in it).
    """

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0
    broken: str = ""
    content_type: str = "application/json"

    def body_bytes(self) -> bytes:
        if self.body is None:
            return b""
        if isinstance(self.body, bytes):
            return self.body
        return json.dumps(self.body, separators=(",", ":")).encode()


DEFAULT: Answer | None = None


@dataclass(frozen=True)
class Rule:
    """
    Answers for requests of a method (a pattern) and a route (a pattern, matched whole).

    The n-th such request of a task gets the n-th answer, those after the last the last one.
    DEFAULT in the place of an answer stands for the default one.
    """

    method: str
    route: str
    answers: tuple[Answer | None, ...]

    def matches(self, request: Request) -> bool:
        return bool(
            re.fullmatch(self.method, request.method) and re.fullmatch(self.route, request.route)
        )


class Script:
    """What one task is answered, what it asked, and who wants to know of that."""

    def __init__(
        self,
        rules: tuple[Rule, ...],
        default: Callable[[Request], Answer],
        on_request: Callable[[Request], None] = lambda request: None,
    ) -> None:
        self.requests: list[Request] = []
        # Per rule the requests that got an answer of its own, which is not the default one.
        self.served: list[list[Request]] = [[] for _ in rules]
        self.on_request = on_request
        self._rules = rules
        self._default = default
        self._counts = [0] * len(rules)
        self._lock = threading.Lock()

    def answer(self, request: Request) -> Answer:
        """Record a request and choose its answer."""
        with self._lock:
            self.requests.append(request)
            for number, rule in enumerate(self._rules):
                if rule.matches(request):
                    count = self._counts[number]
                    self._counts[number] += 1
                    chosen = rule.answers[min(count, len(rule.answers) - 1)]
                    if chosen is not None:
                        self.served[number].append(request)
                        return chosen
                    break
            return self._default(request)


class ApiServer:
    """Owns the port and the threads from start to stop; use as a context.

    With ``tls`` it speaks HTTPS, and its URL has the name localhost.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.scripts: dict[str, Script] = {}
        self.strangers: list[Request] = []  # requests without the token of a known task
        self.stopping = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.api = self
        self._tls = tls is not None
        if tls is not None:
            # Not in accept(), where one client that says nothing would keep out all others.
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        origin = "https://localhost" if self._tls else "http://127.0.0.1"
        return f"{origin}:{self.port}{PREFIX}/"

    def __enter__(self) -> ApiServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, request: Request) -> tuple[Answer, Script | None]:
        script = self.scripts.get(request.task)
        if script is None:
            self.strangers.append(request)
            return Answer(401, {"detail": "nobody has this token"}), None
        return script.answer(request), script


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    api: ApiServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is nothing to tell of."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        headers = {
            name: value
            for name in RECORDED_HEADERS
            if (value := self.headers.get(name)) is not None
        }
        request = Request(self.command, self.path, headers, self.rfile.read(length))
        answer, script = self.server.api.answer(request)
        if answer.delay:
            self.server.api.stopping.wait(answer.delay)
        try:
            self._send(answer)
        finally:
            if script is not None:
                script.on_request(request)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

    def _send(self, answer: Answer) -> None:
        if answer.broken == "reset":
            # With a linger of zero seconds a close is a reset.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        if answer.broken == "nonsense":
            self.wfile.write(b"\x16\x03\x01 this is not the protocol\r\n\r\n")
            self.close_connection = True
            return
        body = answer.body_bytes()
        if answer.broken == "raw":
            self.wfile.write(body)
            self.close_connection = True
            return
        self.send_response(answer.status)
        if body:
            self.send_header("Content-Type", answer.content_type)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD" or not body:
            return
        if answer.broken == "half":
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
            return
        self.wfile.write(body)
