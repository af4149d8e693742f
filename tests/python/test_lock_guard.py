# SPDX-License-Identifier: Apache-2.0
"""When a held lock counts as lost, how that reaches the code under it, how a task is resumed."""

from __future__ import annotations

import asyncio
import signal
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from kazoo.exceptions import SessionExpiredError
from kazoo.handlers.threading import SequentialThreadingHandler

from zk_executor.exceptions import ZookeeperError
from zk_executor.locks import deferral, zk_lock, zk_read_lock, zk_semaphore
from zk_executor.locks.errors import ZookeeperLockError, ZookeeperLockNotHeld
from zk_executor.locks.facts import decode, owner_id, told
from zk_executor.locks.guard import Guard, Interruption, LeaseClock, now
from zk_executor.locks.turn import Overdue
from zk_executor.members.member import Member, distribution, nodes_for_ring
from zk_executor.triggers.locks import ZookeeperLockTrigger

TASK = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": 3}


class Stopped(Exception):
    """Raised by an interruption."""


def test_a_lease_is_counted_from_when_the_question_was_sent() -> None:
    clock = LeaseClock(9.0, started=100.0)
    assert clock.left(100.0) == pytest.approx(6.0)
    clock.answered(104.0)
    assert clock.left(109.0) == pytest.approx(1.0)
    clock.answered(101.0)  # answers come in any order
    assert clock.left(110.0) == pytest.approx(0.0)


def test_a_place_is_overdue_only_if_nothing_moved_there_for_all_of_the_time() -> None:
    overdue = Overdue(300.0)
    assert not overdue.is_overdue("a", 0, pzxid=1, now=0.0)
    assert not overdue.is_overdue("a", 0, pzxid=1, now=299.0)
    assert not overdue.is_overdue("a", 0, pzxid=2, now=300.0), "somebody was there in between"
    assert not overdue.is_overdue("a", 1, pzxid=3, now=700.0)
    assert not overdue.is_overdue("a", 0, pzxid=4, now=701.0)
    assert overdue.is_overdue("a", 0, pzxid=4, now=1001.0)


class Client:
    """Answers the guard's questions with what it is given."""

    def __init__(self) -> None:
        self.handler = SequentialThreadingHandler()
        self.client_id = (7, b"")
        self._session_timeout = 300
        self.answer: Any = SimpleNamespace(ephemeralOwner=7)

    def add_listener(self, _: Any) -> None: ...
    def remove_listener(self, _: Any) -> None: ...

    def exists_async(self, path: str, watch: Any) -> Any:
        result = self.handler.async_result()
        if isinstance(self.answer, Exception):
            result.set_exception(self.answer)
        elif self.answer != "silence":
            result.set(self.answer)
        return result


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "deleted"),
        (SimpleNamespace(ephemeralOwner=8), "another session"),
        (SessionExpiredError(), "expired"),
        ("silence", "silent for longer than is safe"),
    ],
)
def test_the_guard_tells_once_why_a_place_is_lost(answer: Any, reason: str) -> None:
    client, told_of, told_event = Client(), [], threading.Event()

    def on_lost(why: str) -> None:
        told_of.append(why)
        told_event.set()

    client.handler.start()
    client.answer = answer
    guard = Guard(client, "/lock/place", now(), on_lost)
    guard.start()
    assert told_event.wait(30)
    guard.stop()
    client.handler.stop()
    assert len(told_of) == 1 and reason in told_of[0] and guard.reason == told_of[0]


def test_an_interruption_ends_a_system_call_in_the_main_thread_and_nothing_after_its_end() -> None:
    before = signal.getsignal(signal.SIGURG)
    interruption = Interruption(Stopped)
    with pytest.raises(Stopped), interruption:
        threading.Timer(0.01, interruption.fire).start()
        signal.pause()
    interruption.fire()
    assert signal.getsignal(signal.SIGURG) == before


def test_an_interruption_reaches_another_thread_between_its_byte_codes() -> None:
    caught = threading.Event()
    begun: list[Interruption] = []
    ready = threading.Event()

    def work() -> None:
        try:
            with Interruption(Stopped) as interruption:
                begun.append(interruption)
                ready.set()
                while True:
                    pass
        except Stopped:
            caught.set()

    thread = threading.Thread(target=work)
    thread.start()
    assert ready.wait(30)
    begun[0].fire()
    thread.join(30)
    assert caught.is_set()


def test_a_resumed_task_comes_back_to_its_function_with_its_state() -> None:
    """As BaseOperator.resume_execution calls it: getattr(task, method)(context, event=..., ...)."""
    seen: list[Any] = []

    def call(inner: Any, args: Any, kwargs: Any) -> Any:
        seen.append((deferral.resumed("lock:/other"), deferral.resumed("lock:/a")))
        seen.append(deferral.resumed("lock:/a"))
        return inner(*args, **kwargs)

    wrapped = deferral.wrap(lambda number: number + 1, call)
    task = SimpleNamespace(python_callable=wrapped, execute=lambda context: wrapped(41))
    resume = getattr(task, deferral.RESUME_METHOD)
    state = {"key": "lock:/a", "place": "p", "deadline": None}
    assert resume({"task": task}, event={"status": "granted"}, **{deferral.STATE: state}) == 42
    assert seen == [(None, {**state, "event": {"status": "granted"}}), None]


def test_what_cannot_be_decorated_or_asked_for_is_refused() -> None:
    async def coroutine() -> None: ...

    for wrong in (
        lambda: zk_lock("/a")(coroutine),
        lambda: zk_lock("/a", on_lost="ignore"),
        lambda: zk_lock("/a", standby=-1),
        lambda: zk_read_lock("/a", standby=1),
        lambda: zk_semaphore("/a", 0),
        lambda: zk_lock("a"),
    ):
        with pytest.raises(ZookeeperLockError) as error:
            wrong()
        assert isinstance(error.value, ZookeeperError)
    lock = zk_lock("/a")
    for unheld in (lock.release, lock.check, lambda: lock.token):
        with pytest.raises(ZookeeperLockNotHeld, match="lock /a .*zookeeper_default"):
            unheld()


def test_a_trigger_is_made_again_from_what_it_says() -> None:
    trigger = ZookeeperLockTrigger(
        conn_id="c", path="/a", place="p", leases=2, deadline=1.0, handover_timeout=5.0, standby=3
    )
    name, arguments = trigger.serialize()
    assert name == f"{ZookeeperLockTrigger.__module__}.{ZookeeperLockTrigger.__qualname__}"
    assert ZookeeperLockTrigger(**arguments).serialize() == trigger.serialize()
    asyncio.run(trigger.cleanup())  # before it ran: there is nothing to clean


def test_an_owner_is_the_same_in_every_try_and_another_for_each_map_index() -> None:
    assert owner_id({**TASK, "try_number": 1}) == owner_id({**TASK, "try_number": 2})
    assert owner_id(TASK) != owner_id({**TASK, "map_index": 4})
    assert owner_id({}) != owner_id({})
    assert told({**TASK, "try_number": 2, "host": "h"}) == "d.t[3] of r, try 2, on h"
    assert decode(b"not json") == decode(b"[1]") == decode(b"") == {}


def test_members_that_get_keys_and_their_report() -> None:
    members = [
        Member("a", slots=3, queues=("x",)),
        Member("b", slots=1, queues=("x", "y")),
        Member("c", state="draining", queues=("x",)),
    ]
    assert nodes_for_ring(members) == [("a", 3), ("b", 1)]
    assert nodes_for_ring(members, "y") == [("b", 1)]
    assert distribution(["a", "a", "b", "b"], nodes_for_ring(members)) == [
        {"node": "a", "slots": 3, "keys": 2, "of_fair_share": 0.667},
        {"node": "b", "slots": 1, "keys": 2, "of_fair_share": 2.0},
    ]
    assert Member.decode("a", members[0].encode()) == members[0]
    assert Member.decode("a", b"\xff") == Member("a")
