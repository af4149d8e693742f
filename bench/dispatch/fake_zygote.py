#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Stands in for the worker's Python side: takes runs and holds them until it is killed.

zk-worker starts it as it would start `python -m zk_executor.worker.zygote --fd N`; what it sends as
configuration comes from the environment, BENCH_HANDSHAKE.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys


def send(channel: socket.socket, message: dict[str, object]) -> None:
    body = json.dumps(message).encode()
    channel.sendall(struct.pack(">I", len(body)) + body)


def receive(channel: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = channel.recv(size - len(data))
        if not part:
            sys.exit(0)  # the worker is gone
        data += part
    return data


def main() -> None:
    channel = socket.socket(fileno=int(sys.argv[sys.argv.index("--fd") + 1]))
    send(channel, {"event": "hello", **json.loads(os.environ["BENCH_HANDSHAKE"])})
    send(channel, {"event": "ready", "pid": os.getpid()})
    while True:
        (size,) = struct.unpack(">I", receive(channel, 4))
        message = json.loads(receive(channel, size))
        if message["op"] == "run":
            send(channel, {"event": "started", "id": message["id"], "pid": os.getpid()})
        elif message["op"] == "kill":
            ended = {"event": "exited", "id": message["id"], "outcome": "killed", "info": ""}
            send(channel, ended)


if __name__ == "__main__":
    main()
