# SPDX-License-Identifier: Apache-2.0
"""A zygote whose tasks are timers: zk-worker unmodified, without Airflow.

Started as `<launcher> CONFIG -m zk_executor.worker.zygote --fd N`; speaks what
zk_executor.worker.zygote speaks. A workload is {"kind", "gate_ms", "hold_ms"}. What happens to it
goes to the ledger, a line per event, appended in one write.

Airflow's gate (PATCH .../run accepts one start of a task) is a file that only one can create. A
callback has no such gate.
"""

from __future__ import annotations

import heapq
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from typing import Any

Message = dict[str, Any]


class ChannelClosed(Exception):
    """The worker is gone."""


class NoopZygote:
    """Serves one worker until it is gone."""

    def __init__(self, channel: socket.socket, config: Message) -> None:
        self._channel = channel
        self._gates = config["gates"]
        self._ledger = os.open(config["ledger"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._worker = os.getppid()
        self._runs: dict[str, Message] = {}
        self._timers: list[tuple[float, int, str]] = []
        self._number = 0
        self._in = bytearray()

    def send(self, message: Message) -> None:
        body = json.dumps(message).encode()
        try:
            self._channel.sendall(struct.pack(">I", len(body)) + body)
        except OSError as error:
            raise ChannelClosed from error

    def note(self, what: str, dispatch: str) -> None:
        """A line in the ledger."""
        line = f"{time.monotonic():.6f} {what} {dispatch} {self._worker}\n"
        os.write(self._ledger, line.encode())

    def serve(self) -> None:
        while True:
            wait = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
            readable, _, _ = select.select([self._channel], [], [], wait)
            if readable:
                for message in self._receive():
                    self._handle(message)
            while self._timers and self._timers[0][0] <= time.monotonic():
                self._due(*heapq.heappop(self._timers)[1:])

    def _receive(self) -> list[Message]:
        try:
            data = self._channel.recv(1 << 18)
        except OSError as error:
            raise ChannelClosed from error
        if not data:
            raise ChannelClosed
        self._in += data
        messages = []
        while len(self._in) >= 4:
            (size,) = struct.unpack_from(">I", self._in)
            if len(self._in) < 4 + size:
                break
            messages.append(json.loads(bytes(self._in[4 : 4 + size])))
            del self._in[: 4 + size]
        return messages

    def _handle(self, message: Message) -> None:
        dispatch = message["id"]
        if message["op"] == "run":
            self._number += 1
            run = {**json.loads(message["workload"]), "number": self._number}
            self._runs[dispatch] = run
            self.send({"event": "started", "id": dispatch, "pid": os.getpid()})
            self._after(run["gate_ms"], dispatch)
        elif dispatch in self._runs:
            self.note("killed", dispatch)
            self._end(dispatch, "failed", f"ended by signal {message['signal']}")

    def _after(self, milliseconds: int, dispatch: str) -> None:
        due = time.monotonic() + milliseconds / 1000
        heapq.heappush(self._timers, (due, self._runs[dispatch]["number"], dispatch))

    def _due(self, number: int, dispatch: str) -> None:
        run = self._runs.get(dispatch)
        if run is None or run["number"] != number:
            return
        if run.get("started"):
            self.note("end", dispatch)
            self._end(dispatch, "success", "")
        elif run["kind"] == "task" and not self._passes_gate(dispatch):
            self.note("refused", dispatch)
            self._end(dispatch, "already_running", "the gate was passed before")
        else:
            self.note("start", dispatch)
            run["started"] = True
            self._after(run["hold_ms"], dispatch)

    def _passes_gate(self, dispatch: str) -> bool:
        try:
            os.close(os.open(f"{self._gates}/{dispatch}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    def _end(self, dispatch: str, outcome: str, info: str) -> None:
        del self._runs[dispatch]
        self.send({"event": "exited", "id": dispatch, "outcome": outcome, "info": info})


def main() -> None:
    with open(sys.argv[1]) as file:
        config = json.load(file)
    # As the real one: it ends when its channel closes.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    zygote = NoopZygote(socket.socket(fileno=int(sys.argv[-1])), config)
    try:
        zygote.send({"event": "hello", **config["hello"]})
        zygote.send({"event": "ready", "pid": os.getpid()})
        zygote.serve()
    except ChannelClosed:
        pass


if __name__ == "__main__":
    main()
