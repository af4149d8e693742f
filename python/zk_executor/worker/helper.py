# SPDX-License-Identifier: Apache-2.0
"""
What the native supervisor leaves to Airflow's own code, each in a fork of the zygote.

A *helper* answers requests of one task with the handlers of Airflow's supervisor: those
that the worker's table does not know. An *upload* brings a finished log to where remote
logs are kept.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from typing import Any, NoReturn

from zk_executor.worker import processes


def serve(what: dict[str, Any], parent: int, server: str) -> NoReturn:
    """Answer until the worker closes its end. Never returns."""
    try:
        (fd,) = what["fds"]
        processes.die_with_parent(parent)
        _answer_all(socket.socket(fileno=fd), what["ti_id"], what["pid"], server)
    except EOFError:
        pass
    finally:
        os._exit(0)


def _answer_all(sock: socket.socket, ti_id: str, pid: int, server: str) -> None:
    from uuid import UUID

    import msgspec
    import structlog
    from airflow.sdk._shared.secrets_masker import _secrets_masker
    from airflow.sdk.api.client import Client
    from airflow.sdk.execution_time.comms import _RequestFrame
    from airflow.sdk.execution_time.supervisor import ActivitySubprocess

    log = structlog.get_logger(logger_name="helper")
    answers = _Answers()
    client = Client(base_url=server, token="none")
    supervisor = ActivitySubprocess(
        id=UUID(ti_id),
        pid=pid,
        stdin=answers,  # type: ignore[arg-type]
        process=None,  # type: ignore[arg-type]
        process_log=log,
        client=client,
    )
    decoder = msgspec.msgpack.Decoder(_RequestFrame)
    masks: list[str] = []
    _secrets_masker().add_mask = lambda secret, name=None: masks.append(secret)  # type: ignore[method-assign]
    while True:
        told = json.loads(_read_frame(sock))
        payload = _read_frame(sock)
        _use_token(client, told["token"])
        handler = supervisor.handle_requests(log)
        next(handler)
        handler.send(decoder.decode(payload))
        _write_frame(sock, json.dumps(masks, default=str).encode())
        masks.clear()
        sock.sendall(answers.take())


class _Answers:
    """Stands in for the task's socket."""

    def __init__(self) -> None:
        self._frames = b""

    def sendall(self, frame: bytes) -> None:
        self._frames += bytes(frame)

    def take(self) -> bytes:
        frames, self._frames = self._frames, b""
        return frames


def _use_token(client: Any, token: str) -> None:
    from airflow.sdk.api.client import BearerAuth

    client.auth = BearerAuth(token)


def _read_frame(sock: socket.socket) -> bytes:
    (size,) = struct.unpack(">I", _read(sock, 4))
    return _read(sock, size)


def _read(sock: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = sock.recv(min(1 << 18, size - len(data)))
        if not chunk:
            raise EOFError
        data += chunk
    return bytes(data)


def _write_frame(sock: socket.socket, data: bytes) -> None:
    sock.sendall(struct.pack(">I", len(data)) + data)


def upload(what: dict[str, Any], parent: int, server: str) -> NoReturn:
    """Upload one log, as Airflow's supervisor does at a task's end. Never returns."""
    try:
        processes.die_with_parent(parent)
        from airflow.sdk.api.client import Client
        from airflow.sdk.api.datamodels._generated import TaskInstance
        from airflow.sdk.execution_time.supervisor import _remote_logging_conn
        from airflow.sdk.log import load_remote_log_handler

        client = Client(base_url=server, token=what["token"])
        handler = load_remote_log_handler()
        if handler is not None:
            with _remote_logging_conn(client):
                handler.upload(what["path"], TaskInstance.model_construct(**what["ti"]))
    except BaseException as error:
        print(
            f"zk-worker: cannot upload a task's log ({type(error).__name__}: {error})", flush=True
        )
    finally:
        os._exit(0)
