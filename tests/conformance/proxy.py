# SPDX-License-Identifier: Apache-2.0
"""
A forward proxy that knows one server, whatever name a client asks for.

It takes plain requests and CONNECT, writes down what it is asked, and wants credentials if it has
some. Threads: one per connection.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import socketserver
import threading


class Proxy:
    """Owns its port and threads from start to stop; use as a context."""

    def __init__(self, target_port: int, credentials: str = "") -> None:
        self.asked: list[str] = []  # first lines of requests
        self.refused = 0  # requests without the credentials
        self.target = ("127.0.0.1", target_port)
        self.wanted = (
            f"Basic {base64.b64encode(credentials.encode()).decode()}" if credentials else ""
        )
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    proxy: Proxy


class _Handler(socketserver.StreamRequestHandler):
    """One request of a connection, and whatever follows on it."""

    server: _Server

    def handle(self) -> None:
        proxy = self.server.proxy
        first = self.rfile.readline()
        headers = list(iter(self.rfile.readline, b"\r\n"))
        if not first or not headers:
            return
        method, url, version = first.decode().split()
        proxy.asked.append(f"{method} {url}")
        fields = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.decode().partition(":") for line in headers)
        }
        if proxy.wanted and fields.get("proxy-authorization") != proxy.wanted:
            proxy.refused += 1
            self.wfile.write(
                b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n"
                b"Connection: close\r\n\r\n"
            )
            return
        with socket.create_connection(proxy.target) as target:
            if method == "CONNECT":
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                # The connection is for this request alone: its answer says that it closes.
                path = "/" + url.split("/", 3)[3]
                kept = [
                    line
                    for line in headers
                    if not line.lower().startswith((b"connection:", b"proxy-"))
                ]
                body = self.rfile.read(int(fields.get("content-length", 0)))
                target.sendall(
                    f"{method} {path} {version}\r\n".encode()
                    + b"".join(kept)
                    + b"Connection: close\r\n\r\n"
                    + body
                )
            back = threading.Thread(target=_pump, args=(target, self.connection), daemon=True)
            back.start()
            if method == "CONNECT":
                _pump(self.connection, target)
            back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
