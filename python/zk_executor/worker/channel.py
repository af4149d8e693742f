# SPDX-License-Identifier: Apache-2.0
"""
The channel between ``zk-worker`` and its zygote: JSON objects over a stream socket.

A frame is four bytes of length (big endian) and that many bytes of UTF-8 JSON. A message
that carries descriptors says how many in ``fds``; ``receive`` puts them in their place.
Not thread-safe; the zygote has one thread.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Sequence
from typing import Any

FRAME_BYTES_MAX = 64 << 20


class ChannelClosed(Exception):
    """The worker is gone."""


class Channel:
    """Owns the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = bytearray()
        self._fds: list[int] = []

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def send(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """Blocks until the worker has taken it; ``fds`` stay ours. Raises ChannelClosed."""
        if fds:
            message = {**message, "fds": len(fds)}
        # Half of a surrogate pair, as Python reads odd bytes, is no JSON for the worker, which
        # would never learn what the message says.
        body = json.dumps(message, ensure_ascii=False).encode(errors="replace")
        frame = struct.pack(">I", len(body)) + body
        try:
            if fds:
                frame = frame[socket.send_fds(self._socket, [frame], list(fds)) :]
            self._socket.sendall(frame)
        except OSError as error:
            raise ChannelClosed from error

    def receive(self) -> list[dict[str, Any]]:
        """Read what is there; return the complete messages. Raises ChannelClosed at the end."""
        try:
            data, fds, _, _ = socket.recv_fds(self._socket, 1 << 18, 16, socket.MSG_CMSG_CLOEXEC)
        except OSError as error:
            raise ChannelClosed from error
        self._fds += fds
        if not data:
            raise ChannelClosed
        self._buffer += data
        messages = []
        while len(self._buffer) >= 4:
            (length,) = struct.unpack_from(">I", self._buffer)
            if length > FRAME_BYTES_MAX:
                raise ChannelClosed(f"a frame of {length} bytes")
            if len(self._buffer) < 4 + length:
                break
            message = json.loads(bytes(self._buffer[4 : 4 + length]))
            del self._buffer[: 4 + length]
            if count := message.get("fds"):
                message["fds"], self._fds = self._fds[:count], self._fds[count:]
            messages.append(message)
        return messages
