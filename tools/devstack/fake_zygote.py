# SPDX-License-Identifier: Apache-2.0
"""A zygote without Airflow, for tests of what zk-worker does with its processes.

Give ``fake_python(folder, …)`` as the worker's --python. It sends the handshake and says that it
is ready. A workload is a shell command; what it starts may outlive this process, which cleans up
nothing: that is left to zk-worker.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

HELLO: dict[str, Any] = {
    "event": "hello",
    "airflow_version": "none",
    "root": "/zk-executor",
    "digest_auth": "",
    "session_timeout_ms": 30000,
    "partitions": 4,
    "secret": "an encryption key for tests",
    "slots": 4,
    "slots_max": 64,
    "queues": ["default"],
    "hostname": "localhost",
    "http_host": "127.0.0.1",
    "http_port": 0,
    "drain_timeout_ms": 60000,
    "kill_grace_ms": 1000,
    "relist_interval_ms": 1000,
    "log_level": "info",
    "journal_dir": "",
    "api_secret_key": "",
    "base_log_folder": "/nonexistent",
    "log_clock_grace_s": 30,
}


def fake_python(folder: Path, **hello: Any) -> Path:
    """Write a program that stands for the Python interpreter; hello overrides the handshake."""
    settings = folder / "fake-hello.json"
    settings.write_text(json.dumps({**HELLO, "journal_dir": str(folder / "journal"), **hello}))
    program = folder / "fake-python"
    program.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).resolve()}" "{settings}" "$@"\n'
    )
    program.chmod(0o755)
    return program


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("hello", type=Path)
    parser.add_argument("-m", dest="module")
    parser.add_argument("--fd", type=int, required=True)
    options = parser.parse_args()
    channel = socket.socket(fileno=options.fd)
    channel.set_inheritable(False)

    def send(message: dict[str, Any]) -> None:
        body = json.dumps(message).encode()
        channel.sendall(struct.pack(">I", len(body)) + body)

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hello = json.loads(options.hello.read_text())
    if hello.get("fails"):
        send({"event": "failed", "invalid": False, "message": "told to fail"})
        return
    send(hello)
    send({"event": "ready", "pid": os.getpid()})
    runs: dict[str, subprocess.Popen[bytes]] = {}
    received = b""
    while True:
        readable, _, _ = select.select([channel], [], [], 0.05)
        if readable:
            data = channel.recv(65536)
            if not data:
                return
            received += data
        while len(received) >= 4:
            (length,) = struct.unpack_from(">I", received)
            if len(received) < 4 + length:
                break
            message, received = json.loads(received[4 : 4 + length]), received[4 + length :]
            if message["op"] == "run":
                run = subprocess.Popen(["/bin/sh", "-c", message["workload"]])
                runs[message["id"]] = run
                send({"event": "started", "id": message["id"], "pid": run.pid})
            elif message["id"] in runs:
                runs[message["id"]].send_signal(message["signal"])
        for dispatch, run in list(runs.items()):
            if run.poll() is not None:
                del runs[dispatch]
                outcome = "failed" if run.returncode else "success"
                info = f"exit code {run.returncode}"
                send({"event": "exited", "id": dispatch, "outcome": outcome, "info": info})


if __name__ == "__main__":
    main()
