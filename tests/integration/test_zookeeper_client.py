# SPDX-License-Identifier: Apache-2.0
"""The client that everything of ours uses: what it refuses, what it bounds, what it survives.

On real servers with their default settings.
"""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import (
    EXCEPTIONS,
    BadArgumentsError,
    ConnectionClosedError,
    ConnectionLoss,
    KazooException,
    NoNodeError,
)
from zk_clients import clients, expire, wait_until

from devstack import ZooKeeperServer
from zk_executor import exceptions, names
from zk_executor.hooks.login import Login
from zk_executor.hooks.zookeeper import ZookeeperHook
from zk_executor.members.watch import list_members
from zk_executor.secrets.cache import FORGET_AFTER, ZnodeCache
from zk_executor.zk import waits
from zk_executor.zk.client import PENDING_MAX, WAITING_MAX, Client
from zk_executor.zk.handler import NoAnswer

DEFAULT_SETTINGS = ("-Djute.maxbuffer=1048575",)
MakeClient = Callable[..., Client]


@pytest.fixture(scope="module")
def server(session_folder: Path) -> Iterator[ZooKeeperServer]:
    """A ZooKeeper with a server's default limit on requests, for tests that do not stop it."""
    with ZooKeeperServer(session_folder / "client-zookeeper", jvm=DEFAULT_SETTINGS) as started:
        yield started


@pytest.fixture
def stoppable(tmp_path: Path, session_folder: Path) -> Iterator[ZooKeeperServer]:
    with ZooKeeperServer(tmp_path / "zookeeper", jvm=DEFAULT_SETTINGS) as started:
        yield started


@pytest.fixture
def make_client() -> Iterator[MakeClient]:
    made: list[Client] = []

    def make(hosts: str, **arguments: Any) -> Client:
        made.append(Client(hosts=hosts, timeout=6.0, **arguments))
        made[-1].start(30)
        return made[-1]

    yield make
    for client in made:
        client.end()


def within_a_minute(function: Callable[[], Any]) -> Any:
    """What it returns or raises; fails if it hangs."""
    came: list[Any] = []

    def run() -> None:
        try:
            came.append((function(), None))
        except BaseException as error:
            came.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(60)
    assert came, "it hangs"
    value, error = came[0]
    if error is not None:
        raise error
    return value


def in_a_child(function: Callable[[], None]) -> int:
    """The exit code of a forked child that runs it; one that hangs is ended."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.alarm(60)
            function()
            code = 0
        except BaseException as error:
            print(repr(error), file=sys.stderr)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def number_of(server: ZooKeeperServer, what: str) -> int:
    found = re.search(rf"{what}\t(\d+)", server.ask("mntr"))
    assert found
    return int(found[1])


# Names


def test_servers_take_the_names_that_we_take_and_refuse_those_that_we_refuse(
    server: ZooKeeperServer,
) -> None:
    """At every border between classes of characters, and some in between; with a plain client."""
    borders = (0x20, 0x2F, 0x7F, 0xA0, 0xD800, 0xE000, 0xF900, 0xFFF0, 0x10000, 0x110000)
    points = {border + step for border in borders for step in (-2, -1, 0, 1)}
    points |= set(random.Random(1).sample(range(0x110000), 500))
    texts = [chr(point) for point in sorted(points) if 0 < point < 0x110000]
    # Half characters have no bytes, and kazoo takes slashes at the end away.
    texts = [text for text in texts if text != "/" and not "\ud800" <= text <= "\udfff"]
    paths = [f"/names{number}{text}" for number, text in enumerate(texts)]
    paths += ["/n/../o", "/n/./o", "/n/o.", "/n/.o", "/" + "é" * 16_383]
    plain = KazooClient(server.hosts)
    plain.start()
    plain.create("/n")
    try:
        for path in paths:
            taken = names.path_problem(path) == ""
            try:
                plain.create(path, b"x" * (1_000_000 if len(path) > 10_000 else 0))
                assert taken, f"the server takes {path[:20]!r}"
            except (BadArgumentsError, NoNodeError, ValueError):
                assert not taken, f"the server refuses {path[:20]!r}"
    finally:
        plain.stop()
        plain.close()


# What cannot be sent


def test_what_cannot_be_sent_is_refused_to_who_asks_and_to_nobody_else(
    server: ZooKeeperServer, make_client: MakeClient
) -> None:
    client = make_client(server.hosts)
    session = client.client_id
    for ask in (
        lambda: client.get("/half\ud800"),
        lambda: client.exists("/half\ud800"),
        lambda: client.set("/a", b"", version=2**40),
        lambda: client.create("/half\udfff", makepath=True),
        lambda: client.transaction().delete("/half\ud800") or _committed(client, "/half\ud800"),
    ):
        with pytest.raises((BadArgumentsError, ConnectionLoss), match="cannot be sent"):
            ask()
    assert client.exists("/") and client.client_id == session


def _committed(client: Client, path: str) -> Any:
    transaction = client.transaction()
    transaction.delete(path)
    return transaction.commit()


def test_a_request_that_is_refused_is_told_with_connection_path_and_reason(
    server: ZooKeeperServer,
) -> None:
    with ZookeeperHook("my_conn", login=Login("my_conn", server.hosts)) as hook:
        for says, ask in (
            ("no path.*U\\+D800", lambda: hook.call("get", "/half\ud800")),
            ("no path.*U\\+1F600", lambda: hook.call("create", "/a\U0001f600")),
            ("cannot be sent.*version", lambda: hook.call("delete", "/a", version=2**40)),
        ):
            with pytest.raises(exceptions.ZookeeperError, match=f"'my_conn'.*/.*{says}") as caught:
                ask()
            str(caught.value).encode()
        assert hook.call("exists", "/")


# What waits


def test_in_an_outage_a_bounded_number_waits_and_the_others_are_refused_at_once(
    stoppable: ZooKeeperServer, make_client: MakeClient
) -> None:
    client = make_client(stoppable.hosts)
    stoppable.stop()
    wait_until(lambda: not client.connected, "the outage to be seen")
    results = within_a_minute(lambda: [client.exists_async("/") for _ in range(5 * WAITING_MAX)])
    refused = [result for result in results if result.ready()]
    assert len(refused) == 4 * WAITING_MAX
    assert {type(result.exception) for result in refused} == {ConnectionLoss}
    stoppable.start()
    assert all(result.get(timeout=60) for result in results if result not in refused)


def test_what_is_given_up_in_an_outage_is_not_done_after_it(
    stoppable: ZooKeeperServer, make_client: MakeClient
) -> None:
    client = make_client(stoppable.hosts, answer_timeout=60)
    client.create("/there")
    stoppable.stop()
    wait_until(lambda: not client.connected, "the outage to be seen")
    for ask in (
        lambda: client.create("/given-up"),
        lambda: client.create("/given/up", makepath=True),
        lambda: client.set("/there", b"given up"),
        lambda: client.delete("/there"),
        lambda: _committed(client, "/there"),
    ):
        with waits.within(0.01), pytest.raises(NoAnswer):
            ask()
    with pytest.raises(NoAnswer):
        client.delete_async("/there").get(timeout=0.01)
    kept = client.create_async("/waited-for")
    stoppable.start()
    assert kept.get(timeout=60) == "/waited-for"
    assert client.exists("/given-up") is client.exists("/given") is None
    assert client.get("/there")[1].version == 0


def test_a_client_with_more_to_ask_than_it_may_is_told_so(
    server: ZooKeeperServer, make_client: MakeClient
) -> None:
    """A server that is stopped in the middle answers nothing, and is not known to be away yet."""
    client = make_client(server.hosts)
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        results = within_a_minute(
            lambda: [client.exists_async("/") for _ in range(PENDING_MAX + 100)]
        )
        assert any(result.ready() for result in results)
        assert client.pending <= PENDING_MAX + 1  # one that kazoo had in its hands
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    wait_until(lambda: client.connected and not client.pending, "all to be answered")
    assert client.exists("/")


def test_a_large_group_is_read_a_few_at_a_time(
    server: ZooKeeperServer, make_client: MakeClient
) -> None:
    client = make_client(server.hosts)
    client.ensure_path("/zk_executor_members/large")
    for number in range(500):
        client.create(f"/zk_executor_members/large/m{number}", b"{}")
    seen: list[int] = []
    ask = client.get_async

    def counting(*args: Any, **kwargs: Any) -> Any:
        result = ask(*args, **kwargs)
        seen.append(client.pending)
        return result

    client.get_async = counting  # type: ignore[method-assign]
    assert len(list_members(client, "large")) == len(seen) == 500
    assert max(seen) <= waits.AT_ONCE


def test_a_server_that_says_nothing_holds_nobody_up_for_longer_than_its_timeout() -> None:
    """It takes the connection, and is silent; sessions are long."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hosts = f"127.0.0.1:{silent.getsockname()[1]}"
        login = Login("quiet", hosts, session_timeout=3600, connect_timeout=0.2)
        hook = ZookeeperHook("quiet", login=login)
        with pytest.raises(exceptions.ZookeeperConnectionError, match="'quiet'.*let us in"):
            within_a_minute(hook.get_conn)
        client = Client(hosts=hosts, timeout=3600.0)
        with pytest.raises(NoAnswer):
            within_a_minute(lambda: client.start(0.2))
        within_a_minute(client.end)


# What ends and goes on


def test_a_connection_thread_that_ended_is_replaced_and_everybody_hears_of_it(
    server: ZooKeeperServer, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(server.hosts)
    states: list[str] = []
    client.add_listener(states.append)
    session = client.client_id

    class Broken:
        """What kazoo cannot write; put where only kazoo puts things."""

        type = 3

        def serialize(self) -> bytes:
            raise UnicodeError("a fault of kazoo's own")

    with caplog.at_level("ERROR", "zk_executor.kazoo"):
        client._queue.append((Broken(), None))
        client._connection._write_sock.send(b"\0")
        wait_until(lambda: states == ["LOST", "CONNECTED"], "another connection")
    assert "a fault of kazoo's own" in caplog.text
    assert client.exists("/") and client.client_id != session
    expire(server.hosts, client)
    assert client.exists("/")


def test_a_state_listener_that_asks_is_refused_and_the_connection_goes_on(
    server: ZooKeeperServer, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(server.hosts)
    asked: list[Any] = []

    def asking(state: str) -> None:
        if state == "CONNECTED":
            asked.append(None)
            client.exists("/")

    client.add_listener(asking)
    with caplog.at_level("ERROR", "zk_executor.kazoo"):
        expire(server.hosts, client)
    assert asked and "may not ask it" in caplog.text
    assert client.exists("/")


def test_an_error_code_that_kazoo_does_not_know_is_an_error_and_no_fault() -> None:
    assert issubclass(EXCEPTIONS[-9999], KazooException)


def test_a_forked_child_is_refused_its_parents_client_and_makes_one_of_its_own(
    server: ZooKeeperServer, make_client: MakeClient
) -> None:
    client = make_client(server.hosts)
    hook = ZookeeperHook("forked", login=Login("forked", server.hosts))
    parents = hook.get_conn()
    session = client.client_id
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with hook._lock:
            held.set()
            release.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()

    def child() -> None:
        with pytest.raises(ConnectionClosedError, match="another process"):
            client.exists("/")
        client.end()
        client.stop()
        assert hook.call("exists", "/"), "a lock held at the fork is not held here"
        assert hook.get_conn() is not parents
        hook.close()

    try:
        assert in_a_child(child) == 0
    finally:
        release.set()
        thread.join()
    assert client.exists("/") and client.client_id == session
    assert hook.get_conn() is parents and hook.call("exists", "/")
    hook.close()


# What is forgotten


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_names_that_nobody_asks_for_are_forgotten_here_and_by_the_server(
    server: ZooKeeperServer,
) -> None:
    before = number_of(server, "zk_watch_count")
    clock = Clock()
    cache = ZnodeCache(lambda: Client(hosts=server.hosts), names_max=50, clock=clock, patience=30)
    try:
        for number in range(300):
            assert cache.get(f"/forgotten/{number}") is None
        assert len(cache) == 50
        wait_until(
            lambda: number_of(server, "zk_watch_count") - before == 50, "watches to be removed"
        )
        client = cache._client
        assert client is not None
        assert sum(1 for watchers in client._data_watchers.values() if watchers) == 50
        wait_until(lambda: len(client._data_watchers) == 50, "kazoo's table to shrink")
        clock.now = FORGET_AFTER / 2
        assert cache.get("/forgotten/299") is None
        clock.now = FORGET_AFTER
        for number in range(20):
            cache.get(f"/new/{number}")
        assert len(cache) == 21, "what was asked for meanwhile stays, and what is new"
        wait_until(lambda: number_of(server, "zk_watch_count") - before == 21, "the others to go")
        # One that was forgotten is asked for again, and watched again.
        assert cache.get("/forgotten/7") is None
        with clients(server.hosts) as connect:
            connect().create("/forgotten/7", b"here", makepath=True)
        wait_until(lambda: cache.get("/forgotten/7") == b"here", "a change to be seen")
    finally:
        cache.close()


def test_values_are_forgotten_before_they_take_too_much_memory(server: ZooKeeperServer) -> None:
    with clients(server.hosts) as connect:
        client = connect()
        for number in range(20):
            client.create(f"/large/{number}", b"x" * 100_000, makepath=True)
    cache = ZnodeCache(lambda: Client(hosts=server.hosts), bytes_max=1_000_000, patience=30)
    try:
        for number in range(20):
            assert cache.get(f"/large/{number}") == b"x" * 100_000
        assert len(cache) == 10
    finally:
        cache.close()


def test_values_are_current_while_they_change_and_are_read_by_many(
    server: ZooKeeperServer,
) -> None:
    """Readers in several threads, one writer: what is served at the end is what was written."""
    cache = ZnodeCache(lambda: Client(hosts=server.hosts), names_max=5, patience=30)
    paths = [f"/busy/{number}" for number in range(10)]
    ended = threading.Event()

    def read(seed: int) -> None:
        rng = random.Random(seed)
        while not ended.is_set():
            cache.get(rng.choice(paths))

    readers = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    with clients(server.hosts) as connect:
        client = connect()
        for path in paths:
            client.create(path, b"0", makepath=True)
        for reader in readers:
            reader.start()
        try:
            for number in range(1, 200):
                for path in paths:
                    client.set(path, str(number).encode())
        finally:
            ended.set()
            for reader in readers:
                reader.join()
        for path in paths:
            wait_until(lambda path=path: cache.get(path) == b"199", f"{path} to be current")
    cache.close()
