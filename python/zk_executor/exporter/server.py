# SPDX-License-Identifier: Apache-2.0
"""HTTP of the exporter: GET and HEAD of a few pages, answered from what was read last.

    /metrics               Prometheus metrics
    /scale?queue=A&queue=B what autoscalers ask: the sums over these queues, as JSON
    /fleet                 all that was read, as JSON
    /health/live           200 while the process answers
    /health/ready          200 while what was read last is fresh, else 503 and why

/scale and /fleet answer 503 while nothing fresh was read, so that an autoscaler keeps what there is
instead of taking 0 for the truth.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from prometheus_client import CONTENT_TYPE_LATEST

from zk_executor.exporter.metrics import page
from zk_executor.exporter.watch import FleetWatch

log = logging.getLogger(__name__)

JSON = "application/json; charset=utf-8"
# Seconds for a client to say what it wants, and to take its answer.
CLIENT_TIMEOUT = 10
# Answers at the same time; more wait.
CONNECTIONS = 32

Answer = tuple[int, str, bytes]


def answer(watch: FleetWatch, target: str) -> Answer:
    """Status, content type and body for a request target."""
    url = urlsplit(target)
    if url.path == "/metrics":
        return 200, CONTENT_TYPE_LATEST, page(watch)
    if url.path == "/health/live":
        return _json(200, {"status": "ok"})
    if url.path not in ("/health/ready", "/scale", "/fleet"):
        pages = ["/metrics", "/scale?queue=NAME", "/fleet", "/health/live", "/health/ready"]
        return _json(404, {"error": f"there is no {url.path}", "pages": pages})
    fleet = watch.fresh()
    if fleet is None:
        error = watch.latest().error or "what was read last is too old"
        return _json(503, {"status": "not ready", "error": error})
    if url.path == "/health/ready":
        return _json(200, {"status": "ok"})
    if url.path == "/fleet":
        return _json(200, fleet)
    names = parse_qs(url.query).get("queue", [])
    if not names:
        return _json(400, {"error": "name the queues: /scale?queue=default&queue=heavy"})
    queues = [queue for queue in fleet["queues"] if queue["queue"] in names]
    sums = {
        key: sum(queue[key] for queue in queues)  # type: ignore[literal-required]
        for key in ("depth", "running", "reserved_slots")
    }
    ages = [queue["oldest_age_seconds"] or 0.0 for queue in queues]
    # What waits is taken for one slot each: a task of more is no worse off, it only waits longer.
    load = sums["depth"] + sums["reserved_slots"]
    return _json(
        200, {"queues": names, **sums, "load": load, "oldest_age_seconds": max(ages, default=0.0)}
    )


def _json(status: int, body: Any) -> Answer:
    return status, JSON, (json.dumps(body) + "\n").encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "zkexec-exporter"
    sys_version = ""
    timeout = CLIENT_TIMEOUT
    server: ExporterServer

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        status, content_type, text = answer(self.server.watch, self.path)
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Connection", "close")
        self.end_headers()
        if body:
            self.wfile.write(text)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)


class ExporterServer(ThreadingHTTPServer):
    """Listens from its construction on; a thread for each connection, a bounded number at once.

    Errors: OSError from the constructor if the port can't be had.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, watch: FleetWatch) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.watch = watch
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        super().__init__((host, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._free.acquire()
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("a client went away", exc_info=True)
