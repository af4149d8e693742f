# SPDX-License-Identifier: Apache-2.0
"""
What the DAG files of this folder connect to, as Unix sockets in a folder: ``numbers`` answers each
number with itself and the number of the connection, ``grpc`` echoes, ``.s.PGSQL.5432`` accepts and
never answers.

A process of its own. Threads: those of its servers.
"""

from __future__ import annotations

import itertools
import socket
import socketserver
import struct
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_connections = itertools.count(1)


class _Numbers(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        number = next(_connections)
        with self.request.makefile("rb") as asked:
            while token := asked.read(8):
                self.request.sendall(token + struct.pack("q", number))


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    import grpc  # noqa: PLC0415

    folder = Path(sys.argv[1])
    silent = socket.socket(socket.AF_UNIX)
    silent.bind(str(folder / ".s.PGSQL.5432"))
    silent.listen(64)
    numbers = _Server(str(folder / "numbers"), _Numbers)
    threading.Thread(target=numbers.serve_forever, daemon=True).start()
    echo = grpc.unary_unary_rpc_method_handler(lambda asked, _: asked)
    server = grpc.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("hazards.Echo", {"Echo": echo})]
    )
    server.add_insecure_port(f"unix:{folder}/grpc")
    server.start()
    (folder / "ready").touch()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
