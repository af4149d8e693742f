# SPDX-License-Identifier: Apache-2.0
"""Tasks that send messages to their supervisor and note the answers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from typing import Any

from airflow.sdk.exceptions import AirflowRuntimeError
from airflow.sdk.execution_time import comms, task_runner
from pydantic import BaseModel, TypeAdapter

from conformance_tasks import plan


def _message(content: dict[str, Any]) -> BaseModel:
    return TypeAdapter(comms.ToSupervisor).validate_python(content)


def _told(answer: Any) -> Any:
    """An answer as JSON: its type, its fields, and which of those the supervisor had set."""
    if not isinstance(answer, BaseModel):
        return {"answer": None if answer is None else repr(answer)}
    if isinstance(answer, comms.SentFDs):
        for descriptor in answer.fds:
            os.close(descriptor)
        return {"answer": "SentFDs", "count": len(answer.fds)}
    return {
        "answer": type(answer).__name__,
        "fields": answer.model_dump(mode="json"),
        "set": sorted(answer.model_fields_set),
    }


def _complaint(error: Exception) -> Any:
    if isinstance(error, AirflowRuntimeError):
        return {
            "error": "AirflowRuntimeError",
            "kind": error.error.error.value,
            "detail": error.error.detail,
        }
    return {"error": type(error).__name__, "text": str(error)}


def _ask(ti: Any, content: dict[str, Any]) -> None:
    message = _message(content)
    try:
        told = _told(task_runner.SUPERVISOR_COMMS.send(message))
    except Exception as error:
        told = _complaint(error)
    plan.note(ti, {"message": content["type"], **told})


def send_all(ti: Any) -> None:
    """Every message of the plan, one after the other."""
    for content in plan.read(ti)["messages"]:
        _ask(ti, content)


def send_and_vanish(ti: Any) -> None:
    """The messages of the plan, then an end without any of Airflow's own last words."""
    todo = plan.read(ti)
    for content in todo["messages"]:
        _ask(ti, content)
    os._exit(todo.get("code", 0))


def send_then_linger(ti: Any) -> None:
    """Every message of the plan; then an end without more words, but only after some seconds."""
    send_all(ti)
    threading.Event().wait(4)
    os._exit(0)


def overrun(ti: Any) -> None:
    """Tells its time limit, and then pays no heed to it: only a signal ends it."""
    todo = plan.read(ti)
    signal.signal(signal.SIGTERM, signal.SIG_DFL if todo.get("gives_in") else signal.SIG_IGN)
    send_all(ti)
    print("goes on", flush=True)
    while True:
        threading.Event().wait()


def send_in_coroutines(ti: Any) -> None:
    """The messages of the plan, in coroutines that run at once; one is answered after the other."""

    async def ask_all() -> list[Any]:
        channel = task_runner.SUPERVISOR_COMMS
        messages = [_message(content) for content in plan.read(ti)["messages"]]
        return await asyncio.gather(*(channel.asend(message) for message in messages))

    for answer in asyncio.run(ask_all()):
        plan.note(ti, _told(answer))


def send_in_pieces(ti: Any) -> None:
    """The frames of the plan's messages, cut at every few bytes."""
    channel = task_runner.SUPERVISOR_COMMS
    for content in plan.read(ti)["messages"]:
        frame = bytes(channel._make_frame(_message(content)).as_bytes())
        for start in range(0, len(frame), 3):
            channel.socket.sendall(frame[start : start + 3])
        plan.note(ti, _told(channel._get_response()))


def send_at_once(ti: Any) -> None:
    """The frames of all the plan's messages in one write; then the answers are read."""
    channel = task_runner.SUPERVISOR_COMMS
    messages = [_message(content) for content in plan.read(ti)["messages"]]
    frames = b"".join(bytes(channel._make_frame(message).as_bytes()) for message in messages)
    channel.socket.sendall(frames)
    for _ in messages:
        try:
            told = _told(channel._get_response())
        except Exception as error:
            told = _complaint(error)
        plan.note(ti, told)


def half_a_message(ti: Any) -> None:
    """Dies in the middle of a frame."""
    channel = task_runner.SUPERVISOR_COMMS
    frame = bytes(channel._make_frame(_message(plan.read(ti)["messages"][0])).as_bytes())
    channel.socket.sendall(frame[: len(frame) // 2])
    os._exit(3)


def close_channel(ti: Any) -> None:
    """Closes the channel for requests and ends well otherwise."""
    print("before")
    with contextlib.suppress(OSError):
        task_runner.SUPERVISOR_COMMS.socket.close()
    print("after")
    os._exit(0)
