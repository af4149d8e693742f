# SPDX-License-Identifier: Apache-2.0
"""
The channel between ``zk-worker`` and its zygote: JSON objects over a stream socket.

A frame is four bytes of length (big endian) and that many bytes of UTF-8 JSON.
Not thread-safe; the zygote has one thread.
"""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

FRAME_BYTES_MAX = 64 << 20


class ChannelClosed(Exception):
    """The worker is gone."""


class Channel:
    """Owns the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = bytearray()

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def send(self, message: dict[str, Any]) -> None:
        """Blocks until the worker has taken it. Raises ChannelClosed."""
        body = json.dumps(message).encode()
        try:
            self._socket.sendall(struct.pack(">I", len(body)) + body)
        except OSError as error:
            raise ChannelClosed from error

    def receive(self) -> list[dict[str, Any]]:
        """Read what is there; return the complete messages. Raises ChannelClosed at the end."""
        try:
            data = self._socket.recv(1 << 18)
        except OSError as error:
            raise ChannelClosed from error
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
            messages.append(json.loads(bytes(self._buffer[4 : 4 + length])))
            del self._buffer[: 4 + length]
        return messages
