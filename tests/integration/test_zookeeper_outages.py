# SPDX-License-Identifier: Apache-2.0
"""ZooKeeper goes away, comes back, and ends sessions, while many names and triggers are about.

Servers have their default settings. What is said to go on in an outage is seen to go on before the
server is started again: it cannot have been the end of the outage that helped.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from zk_clients import clients, expire, wait_until

from devstack import ZooKeeperServer
from zk_executor import exceptions
from zk_executor.config import plans
from zk_executor.config.store import ConfigStore
from zk_executor.hooks.login import Login
from zk_executor.hooks.zookeeper import ZookeeperHook
from zk_executor.locks.sessions import close_shared_clients, shared_client
from zk_executor.secrets.zookeeper import ZookeeperSecretsBackend
from zk_executor.triggers.zookeeper import ZnodeChangedTrigger

T = TypeVar("T")
NAMES = 5_000
TRIGGERS = 1_000
DEFAULT_SETTINGS = ("-Djute.maxbuffer=1048575",)


@pytest.fixture
def server(tmp_path: Path, session_folder: Path) -> Iterator[ZooKeeperServer]:
    """A ZooKeeper of the test's own, with a server's default limit on requests."""
    with ZooKeeperServer(tmp_path / "zookeeper", jvm=DEFAULT_SETTINGS) as started:
        yield started


def in_a_thread(function: Callable[[], T]) -> Future[T]:
    """Runs it in a thread that the test's process does not wait for."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def answered(function: Callable[[], T]) -> T:
    """What it returns; fails if it hangs."""
    return in_a_thread(function).result(60)


def requests_of(server: ZooKeeperServer) -> int:
    """How many the server has received since it started."""
    found = re.search(r"zk_packets_received\t(\d+)", server.ask("mntr"))
    assert found
    return int(found[1])


# Secrets


def ask_for_many(backend: ZookeeperSecretsBackend) -> None:
    assert backend.get_variable("color") == "red"
    for number in range(NAMES):
        assert backend.get_variable(f"missing{number}") is None


@pytest.fixture
def backend(server: ZooKeeperServer) -> Iterator[ZookeeperSecretsBackend]:
    """One that knows thousands of names, most of them missing."""
    with clients(server.hosts) as connect:
        connect().create("/airflow/variables/color", b"red", makepath=True)
    made = ZookeeperSecretsBackend(server.hosts, patience=30)
    ask_for_many(made)
    yield made
    in_a_thread(made.close)


def test_an_outage_with_thousands_of_known_names_stops_nobody(
    server: ZooKeeperServer, backend: ZookeeperSecretsBackend, caplog: pytest.LogCaptureFixture
) -> None:
    """Known ones are served in the outage, and current ones after it, without a burst."""
    with caplog.at_level("WARNING", "zk_executor.secrets.cache"):
        server.stop()
        wait_until(lambda: "last known" in caplog.text, "the outage to be seen")
        assert answered(lambda: backend.get_variable("color")) == "red"
        assert answered(lambda: backend.get_variable(f"missing{NAMES - 1}")) is None
        with pytest.raises(exceptions.ZookeeperConnectionError, match="never read"):
            answered(lambda: backend.get_variable("unknown"))
        server.start()
        wait_until(lambda: "is back" in caplog.text, "the end of the outage to be seen")
    with clients(server.hosts) as connect:
        connect().set("/airflow/variables/color", b"blue")
    wait_until(lambda: answered(lambda: backend.get_variable("color")) == "blue", "the change")
    assert answered(lambda: backend.get_variable("unknown")) is None
    assert requests_of(server) < NAMES / 2, "every name was asked for again at once"


def test_an_expired_session_with_thousands_of_known_names_stops_nobody(
    server: ZooKeeperServer, backend: ZookeeperSecretsBackend
) -> None:
    before = requests_of(server)
    expire(server.hosts, backend._cache._client)
    with clients(server.hosts) as connect:
        connect().set("/airflow/variables/color", b"blue")
        wait_until(lambda: answered(lambda: backend.get_variable("color")) == "blue", "the change")
    assert answered(lambda: backend.get_variable("missing1")) is None
    assert requests_of(server) - before < NAMES / 2, "every name was asked for again at once"


def test_a_forked_child_asks_for_what_it_uses_and_not_for_all_that_its_parent_knew(
    server: ZooKeeperServer, backend: ZookeeperSecretsBackend
) -> None:
    before = requests_of(server)
    children = []
    for _ in range(10):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                signal.alarm(60)  # one that hangs is ended by it
                code = 0 if backend.get_variable("color") == "red" else 2
            except BaseException as error:
                print(repr(error), file=sys.stderr)
            finally:
                os._exit(code)
        children.append(pid)
    ended = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    assert ended == [0] * len(children)
    assert requests_of(server) - before < NAMES / 2
    assert answered(lambda: backend.get_variable("color")) == "red", "the parent goes on"


def test_a_name_that_cannot_be_sent_does_not_end_the_backend(
    server: ZooKeeperServer, backend: ZookeeperSecretsBackend
) -> None:
    for name in ("half\ud800", "\udfff", "too long" * 10_000, "\U0001f600"):
        assert answered(lambda name=name: backend.get_variable(name)) is None
        assert answered(lambda name=name: backend.get_connection(name)) is None
    with clients(server.hosts) as connect:
        connect().set("/airflow/variables/color", b"blue")
        wait_until(lambda: answered(lambda: backend.get_variable("color")) == "blue", "the change")


# Triggers


@pytest.fixture
def conn_id(server: ZooKeeperServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    fields = {
        "conn_type": "zookeeper",
        "host": server.hosts,
        "extra": {"connect_timeout": 2, "session_timeout": 6},
    }
    monkeypatch.setenv("AIRFLOW_CONN_ZK_TEST", json.dumps(fields))
    yield "zk_test"
    in_a_thread(close_shared_clients)


class Triggerer:
    """An event loop in a thread, with triggers that wait for znodes of their own."""

    def __init__(self, conn_id: str) -> None:
        self._conn_id = conn_id
        self.loop = asyncio.new_event_loop()
        self.events: dict[int, Any] = {}
        self._tasks: list[Future[None]] = []
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def __enter__(self) -> Triggerer:
        return self

    def __exit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        self.loop.call_soon_threadsafe(self.loop.stop)

    def start(self, count: int) -> None:
        for number in range(count):
            self._tasks.append(asyncio.run_coroutine_threadsafe(self._run(number), self.loop))

    async def _run(self, number: int) -> None:
        trigger = ZnodeChangedTrigger(
            f"/t/n{number}", conn_id=self._conn_id, condition="exists", once=True
        )
        async for event in trigger.run():
            self.events[number] = event.payload

    def goes_on(self) -> None:
        """Fails unless the loop takes a hundred turns."""

        async def turns() -> None:
            for _ in range(100):
                await asyncio.sleep(0)

        asyncio.run_coroutine_threadsafe(turns(), self.loop).result(60)

    def watches(self) -> int:
        client = shared_client(self._conn_id)
        return sum(1 for watchers in list(client._data_watchers.values()) if watchers)

    def wait_watching(self) -> None:
        wait_until(lambda: self.watches() == TRIGGERS, "all to watch")

    def fire_all(self, hosts: str) -> None:
        with clients(hosts) as connect:
            client = connect()
            client.ensure_path("/t")
            for number in range(TRIGGERS):
                client.create(f"/t/n{number}")
        wait_until(lambda: len(self.events) == TRIGGERS, "all to fire")
        assert {event["status"] for event in self.events.values()} == {"success"}


def test_a_thousand_triggers_leave_the_loop_to_others_in_an_outage_and_fire_after_it(
    server: ZooKeeperServer, conn_id: str
) -> None:
    with Triggerer(conn_id) as triggerer:
        triggerer.start(TRIGGERS)
        triggerer.wait_watching()
        client = shared_client(conn_id)
        server.stop()
        wait_until(lambda: not client.connected, "the outage to be seen")
        wait_until(lambda: triggerer.watches() == 0, "the watches to be gone")
        for _ in range(20):
            triggerer.goes_on()
        assert len(client._queue) + len(client._pending) <= 100
        server.start()
        triggerer.wait_watching()
        triggerer.goes_on()
        triggerer.fire_all(server.hosts)


def test_a_thousand_triggers_wait_on_in_another_session_when_theirs_expired(
    server: ZooKeeperServer, conn_id: str
) -> None:
    with Triggerer(conn_id) as triggerer:
        triggerer.start(TRIGGERS)
        triggerer.wait_watching()
        expire(server.hosts, shared_client(conn_id))
        triggerer.goes_on()
        triggerer.wait_watching()
        triggerer.fire_all(server.hosts)


def test_a_thousand_triggers_that_start_in_an_outage_are_told_once_and_together(
    server: ZooKeeperServer, conn_id: str
) -> None:
    """The connection's timeout passes once, not once for each of them."""
    server.stop()
    with Triggerer(conn_id) as triggerer:
        triggerer.start(TRIGGERS)
        for _ in range(20):
            triggerer.goes_on()
        wait_until(lambda: len(triggerer.events) == TRIGGERS, "all to be told")
        assert {event["status"] for event in triggerer.events.values()} == {"error"}
        assert "'zk_test': no server" in triggerer.events[0]["message"]
        server.start()
        triggerer.events.clear()
        triggerer.start(TRIGGERS)
        triggerer.fire_all(server.hosts)


# Hook and configuration


def test_reading_and_changing_a_large_tree_ends_in_an_outage(server: ZooKeeperServer) -> None:
    """The server goes away after the names of 3,000 keys were read, and before their values."""
    hook = ZookeeperHook("test", login=replace(Login("test", server.hosts), operation_timeout=3))
    large = replace(hook.login, operation_timeout=60)
    maker = ZookeeperHook("test", login=large)
    plans.plan_apply(ConfigStore(maker, "/big"), {f"k{n}": "v" for n in range(3000)}).commit("me")
    maker.close()
    store = ConfigStore(hook, "/big")
    change = plans.plan_set(ConfigStore(maker, "/big"), "k1", "w")
    maker.close()
    each = store._each
    stopped: list[bool] = []

    def stopping(operation: str, keys: list[str]) -> list[Any]:
        if len(keys) > 100 and not stopped:
            server.stop()
            stopped.append(True)
        return each(operation, keys)

    store._each = stopping  # type: ignore[method-assign]
    # The main thread has to stop the server: it is the one that started it.
    with pytest.raises(exceptions.ZookeeperConnectionError, match="'test'.*/big"):
        _interrupted_after_60_s(store.read)
    for waits in (
        lambda: replace_store(change, store).commit("me"),
        lambda: store.history(),
        lambda: store.revision(),
        lambda: hook.call("get", "/big"),
    ):
        with pytest.raises(exceptions.ZookeeperConnectionError, match="/big"):
            answered(waits)
    server.start()
    wait_until(lambda: hook.get_conn().connected, "the connection to be back")
    patient = ConfigStore(maker, "/big")
    assert answered(patient.read).tree["k2999"] == b"v"
    assert plans.get(patient, "k1") == (1, "v"), "what was given up is not done later"
    for one in (hook, maker):
        one.close()


def replace_store(change: plans.Plan, store: ConfigStore) -> plans.Plan:
    return replace(change, store=store)


def _interrupted_after_60_s(function: Callable[[], T]) -> T:
    def hangs(*_: object) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(60)
    try:
        return function()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
