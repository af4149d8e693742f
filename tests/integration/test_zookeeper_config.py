# SPDX-License-Identifier: Apache-2.0
"""Configuration through real ZooKeeper servers: trees, secrets, watchers, commands."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from zk_clients import Connect, MakeHook, clients, hooks, set_connection, wait_until

from devstack import ZooKeeperEnsemble, ZooKeeperServer
from zk_executor import exceptions
from zk_executor.config import plans
from zk_executor.config.store import ConfigStore
from zk_executor.locks.sessions import close_client, shared_client
from zk_executor.operators.config import ZookeeperConfigOperator
from zk_executor.secrets.zookeeper import ZookeeperSecretsBackend
from zk_executor.triggers.zookeeper import ZnodeChangedTrigger

KEYS = [f"group{number % 3}/key{number}" for number in range(12)]


@pytest.fixture(scope="module")
def ensemble(session_folder: Path) -> Iterator[ZooKeeperEnsemble]:
    with ZooKeeperEnsemble(session_folder / "config-ensemble") as servers:
        yield servers


@pytest.fixture
def connect(zookeeper: ZooKeeperServer) -> Iterator[Connect]:
    with clients(zookeeper.hosts) as make:
        yield make


@pytest.fixture
def make_hook(zookeeper: ZooKeeperServer) -> Iterator[MakeHook]:
    with hooks(zookeeper.hosts) as make:
        yield make


@pytest.fixture
def conn_id(zookeeper: ZooKeeperServer, monkeypatch: pytest.MonkeyPatch) -> str:
    return set_connection(monkeypatch, zookeeper.hosts)


def operate(action: str, path: str, **arguments: Any) -> Any:
    operator = ZookeeperConfigOperator(task_id="task", action=action, path=path, **arguments)
    return operator.execute({})


# Trees


def test_trees_stay_whole_and_revisions_exact_while_leaders_are_killed(
    ensemble: ZooKeeperEnsemble, make_hook: MakeHook
) -> None:
    """Two writers apply whole trees, set and roll back, two readers read, and the leader is killed
    twice. Every tree that is read has one value throughout, and every change that was confirmed,
    and no other, is a revision."""
    root = "/live/tree"
    store = ConfigStore(make_hook(ensemble.hosts), root, history_max=10_000)
    plans.plan_apply(store, dict.fromkeys(KEYS, "0")).commit("first")
    ended = threading.Event()
    confirmed: list[int] = []
    reads: list[int] = []

    def write(writer: int) -> None:
        own = ConfigStore(make_hook(ensemble.hosts), root, history_max=10_000)
        number = 0
        while not ended.is_set():
            number += 1
            try:
                if number % 3 == 0:
                    plan = plans.plan_rollback(own, own.revision() - 1)
                elif number % 3 == 1:
                    plan = plans.plan_apply(own, dict.fromkeys(KEYS, f"{writer}.{number}"))
                else:
                    plan = plans.plan_set(own, f"mark{writer}", number)
                if plan.changes:
                    confirmed.append(plan.commit(f"{writer}"))
            except exceptions.ZookeeperStaleVersion:
                pass  # the other one was faster

    def read() -> None:
        own = ConfigStore(make_hook(ensemble.hosts), root)
        while not ended.is_set():
            seen = own.read()
            values = {seen.tree[key] for key in KEYS}
            assert len(values) == 1, f"half of a tree at revision {seen.revision}: {values}"
            reads.append(seen.revision)

    with ThreadPoolExecutor(4) as threads:
        running = [threads.submit(write, number) for number in (1, 2)]
        running += [threads.submit(read) for _ in range(2)]
        try:
            for _ in range(2):
                leader = wait_until_leader(ensemble)
                wait_for_more(confirmed, reads)
                leader.process.kill()
                wait_for_more(confirmed, reads)
                ensemble.start()
        finally:
            ended.set()
    for future in running:
        future.result()
    records = store.history(100_000)
    assert sorted(confirmed) == [record.revision for record in reversed(records)][1:]
    assert store.revision() == len(confirmed) + 1


def wait_for_more(*lists: list[Any]) -> None:
    wanted = [len(one) + 10 for one in lists]

    def longer() -> bool:
        return all(len(one) >= length for one, length in zip(lists, wanted, strict=True))

    wait_until(longer, "changes and reads to go on")


def wait_until_leader(ensemble: ZooKeeperEnsemble) -> Any:
    found: list[Any] = []

    def leads() -> bool:
        found[:] = [ensemble.leader()]
        return found[0] is not None

    wait_until(leads, "a leader")
    return found[0]


def test_only_one_of_two_who_saw_the_same_revision_changes_it(
    make_hook: MakeHook, connect: Connect
) -> None:
    store = ConfigStore(make_hook(), "/conflict")
    plans.plan_apply(store, {"a": 1, "b": 1}).commit("first")
    mine = plans.plan_apply(store, {"a": 2, "b": 1})
    plans.plan_set(store, "c", 3).commit("other")
    with pytest.raises(exceptions.ZookeeperStaleVersion, match="'test'.*/conflict"):
        mine.commit("me")
    # Somebody with another tool changes what stays as it is in our plan.
    mine = plans.plan_apply(store, {"a": 3, "b": 1})
    connect().set("/conflict/b", b"9")
    with pytest.raises(exceptions.ZookeeperStaleVersion, match="/conflict/b"):
        mine.commit("me")
    assert plans.get(store)[1] == {"a": "1", "b": "9", "c": "3"}
    with pytest.raises(exceptions.ZookeeperStaleVersion, match="revision 2, not 1"):
        plans.plan_set(store, "a", 5, expected_revision=1)


def test_old_revisions_are_kept_as_many_as_asked_for(make_hook: MakeHook) -> None:
    store = ConfigStore(make_hook(), "/kept/config", history_max=3)
    for number in range(1, 7):
        plans.plan_apply(store, {"n": number}).commit("me", f"number {number}")
    assert [record.revision for record in store.history()] == [6, 5, 4]
    assert plans.get(store, "n", revision=3) == (3, "3")
    with pytest.raises(exceptions.ZookeeperNotFound, match="kept no more"):
        plans.get(store, "n", revision=2)
    plans.plan_rollback(store, 4).commit("me")
    assert plans.get(store, "n") == (7, "4")


# Operator and bad input


def test_the_operator_shows_applies_reads_deletes_and_rolls_back(conn_id: str) -> None:
    root = {"path": "/operator/config", "zookeeper_conn_id": conn_id}
    tree = "db:\n  host: a\n  port: 1\n"
    assert operate("apply", tree=tree, dry_run=True, **root)["revision"] == 0
    with pytest.raises(exceptions.ZookeeperNotFound, match="no such configuration"):
        operate("get", **root)
    assert operate("apply", tree=tree, **root)["revision"] == 1
    assert operate("set", key="db/port", value=2, expected_revision="1", **root) == {
        "revision": 2,
        "changed": ["db/port"],
        "dry_run": False,
    }
    assert operate("set", key="db/port", value=2, **root)["revision"] == 2
    assert operate("get", key="db", **root)["value"] == {"host": "a", "port": "2"}
    assert operate("delete", key="db", **root)["changed"] == ["db", "db/host", "db/port"]
    assert operate("rollback", revision="2", **root)["revision"] == 4
    assert operate("get", key="db/port", **root) == {"revision": 4, "value": "2"}
    assert [row["comment"] for row in operate("history", **root)][:2] == [
        "rollback to revision 2",
        "delete db",
    ]


def test_bad_input_is_told_with_connection_and_path_and_nothing_is_done(
    make_hook: MakeHook, connect: Connect
) -> None:
    owner = make_hook(user="owner", password="right-password", acl="creator")
    store = ConfigStore(owner, "/guarded/config")
    plans.plan_apply(store, {"a": 1}).commit("owner")
    wrong = make_hook(user="owner", password="wrong-password", acl="creator")
    with pytest.raises(exceptions.ZookeeperPermissionError, match="/guarded/config.*password"):
        ConfigStore(wrong, "/guarded/config").read()
    good, message = make_hook(chroot="/nowhere").test_connection()
    assert not good and "/nowhere" in message
    assert wrong.test_connection()[0], "the root of the servers is open to everybody"
    # One znode that we may not touch: the whole tree stays as it was.
    client = connect()
    guest = ConfigStore(make_hook(), "/mixed")
    plans.plan_apply(guest, {"a": 1, "theirs": {"x": 1}}).commit("me")
    owners = owner.get_conn()
    owners.delete("/mixed/theirs/x")
    owners.delete("/mixed/theirs")
    owners.create("/mixed/theirs")
    client.delete("/mixed/.config-history", recursive=True)
    with pytest.raises(exceptions.ZookeeperPermissionError, match="/mixed"):
        plans.plan_apply(guest, {"a": 2, "theirs": {"x": 2}}).commit("me")
    assert client.get("/mixed/a")[0] == b"1"
    with pytest.raises(exceptions.ZookeeperValueTooLarge, match="'test'.*/small/a"):
        plans.plan_set(ConfigStore(make_hook(), "/small"), "a", "x" * 1_000_001).commit("me")
    with pytest.raises(exceptions.ZookeeperValueTooLarge, match="one transaction"):
        many = {str(number): os.urandom(300_000).hex() for number in range(2)}
        plans.plan_apply(ConfigStore(make_hook(), "/small"), many).commit("me")
    assert client.exists("/small") is None
    with pytest.raises(exceptions.ZookeeperInvalidPath, match="begins with a slash"):
        ConfigStore(make_hook(), "no/slash")
    with pytest.raises(exceptions.ZookeeperConnectionError, match="let us in"):
        make_hook("127.0.0.1:1", connect_timeout=0.3).get_conn()


# Secrets


def test_secrets_stay_known_while_zookeeper_is_away_and_current_when_it_is_back(
    own_zookeeper: ZooKeeperServer, caplog: pytest.LogCaptureFixture
) -> None:
    backend = ZookeeperSecretsBackend(own_zookeeper.hosts, patience=30)
    with clients(own_zookeeper.hosts) as connect:
        client = connect()
        client.create("/airflow/variables/color", b"red", makepath=True)
        client.create("/airflow/connections/db", b"postgres://me:secret@host/db", makepath=True)
        assert backend.get_variable("color") == "red"
        assert backend.get_variable("size") is None
        assert backend.get_connection("db").host == "host"
        assert backend.get_config("fernet_key") is None
        client.set("/airflow/variables/color", b"green")
        client.create("/airflow/variables/size", b"big")
        wait_until(lambda: backend.get_variable("color") == "green", "a change")
        wait_until(lambda: backend.get_variable("size") == "big", "a new one")
        client.delete("/airflow/variables/size")
        wait_until(lambda: backend.get_variable("size") is None, "what was deleted to be gone")

        def in_a_child() -> int:
            assert backend.get_variable("color") == "green"
            with clients(own_zookeeper.hosts) as connect_there:
                connect_there().set("/airflow/variables/color", b"blue")
                wait_until(lambda: backend.get_variable("color") == "blue", "a change, in a child")
            return 0

        assert forked(in_a_child) == 0
        wait_until(lambda: backend.get_variable("color") == "blue", "the child's change")

        with caplog.at_level(logging.WARNING, "zk_executor.secrets.cache"):
            own_zookeeper.stop()
            wait_until(lambda: "last known" in caplog.text, "the log to say so")
            assert backend.get_variable("color") == "blue"
            assert backend.get_variable("size") is None
            with pytest.raises(exceptions.ZookeeperConnectionError, match="never read"):
                backend.get_variable("unknown")
            own_zookeeper.start()
            wait_until(lambda: "is back" in caplog.text, "the log to say that it is back")
        other = connect()
        other.set("/airflow/variables/color", b"white")
        wait_until(lambda: backend.get_variable("color") == "white", "a change after the outage")
    backend.close()


def forked(function: Callable[[], int]) -> int:
    """What the function returns in a forked child, 1 if it raises."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = function()
        except BaseException as error:
            print(repr(error), file=sys.stderr)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# Watchers


def connections(server: ZooKeeperServer) -> int:
    found = re.search(r"zk_num_alive_connections\t(\d+)", server.ask("mntr"))
    return int(found[1]) if found else 0


def test_a_thousand_watchers_share_a_session_and_each_sees_the_change(
    zookeeper: ZooKeeperServer, conn_id: str, make_hook: MakeHook
) -> None:
    store = ConfigStore(make_hook(), "/watched")
    plans.plan_apply(store, {"a": 1}).commit("me")
    before = connections(zookeeper)
    head = store.hook.call("exists", store.head_path)
    events: list[Any] = []

    async def watch() -> None:
        async for event in ZnodeChangedTrigger(
            "/watched", conn_id=conn_id, tree=True, since=head.mzxid, once=True
        ).run():
            events.append(event.payload)

    async def main() -> None:
        watchers = [asyncio.create_task(watch()) for _ in range(1000)]
        client = await asyncio.to_thread(shared_client, conn_id)
        node = store.head_path

        def all_wait() -> bool:
            return len(client._data_watchers.get(node, ())) == len(watchers)

        await asyncio.to_thread(wait_until, all_wait, "all to watch")
        assert connections(zookeeper) == before + 1
        await asyncio.to_thread(plans.plan_set(store, "a", 2).commit, "me")
        await asyncio.wait_for(asyncio.gather(*watchers), 60)

    asyncio.run(main())
    close_client(shared_client(conn_id))
    assert len(events) == 1000
    assert {(event["status"], event["version"]) for event in events} == {("success", 1)}


def test_a_trigger_tells_a_missing_znode_made_changed_and_deleted(
    conn_id: str, connect: Connect
) -> None:
    client = connect()

    async def main() -> list[Any]:
        trigger = ZnodeChangedTrigger("/one", conn_id=conn_id, since=0, with_value=True)
        seen = []
        client.create("/one", b"1")
        async for event in trigger.run():
            seen.append((event.payload["exists"], event.payload["value"]))
            if len(seen) == 1:
                client.set("/one", b"2")
            elif len(seen) == 2:
                client.delete("/one")
            else:
                return seen
        return seen

    assert asyncio.run(asyncio.wait_for(main(), 60)) == [(True, "1"), (True, "2"), (False, None)]
    close_client(shared_client(conn_id))


# Commands


class Terminal:
    """Types ``airflow zk config`` commands: in a process of their own, or quicker in this one."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def start(self, *words: str, log: str) -> subprocess.Popen[str]:
        """In a process of its own; what it says besides its output is in the log."""
        with (self.folder / log).open("w") as file:
            return subprocess.Popen(
                [Path(sys.executable).parent / "airflow", "zk", "config", *words],
                env={**os.environ, "AIRFLOW_HOME": str(self.folder)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )

    def type(self, *words: str, stdin: str = "", code: int = 0) -> str:
        """What is printed; errors, too, if the exit code is to be another one than 0."""
        from airflow.cli.cli_parser import get_parser

        self._monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        self._capsys.readouterr()
        ended = 0
        try:
            args = get_parser().parse_args(["zk", "config", *words])
            args.func(args)
        except SystemExit as end:
            ended = int(end.code or 0)
        said = self._capsys.readouterr()
        assert ended == code, f"{words}: {said}"
        return said.out if code == 0 else said.out + said.err


def test_the_commands_as_a_person_types_them(
    zookeeper: ZooKeeperServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fields = {"conn_type": "zookeeper", "host": zookeeper.hosts}
    monkeypatch.setenv("AIRFLOW_CONN_ZOOKEEPER_DEFAULT", json.dumps(fields))
    monkeypatch.chdir(tmp_path)
    terminal = Terminal(tmp_path, monkeypatch, capsys)
    root = "/typed/config"
    (tmp_path / "config.yaml").write_text("db:\n  host: a\n  password: hunter22\n")
    shown = terminal.type("apply", root, "config.yaml", "--comment", "it begins")
    assert "+ db/password: ***" in shown and "is at revision 1" in shown
    watching = terminal.start("watch", root, "--count", "1", log="watch.log")
    setting = None
    try:
        wait_until(lambda: "watching" in (tmp_path / "watch.log").read_text(), "the watch to begin")
        setting = terminal.start("set", root, "db/password", "-", log="set.log")
        said, _ = setting.communicate("hunter23\n", timeout=60)
        seen, _ = watching.communicate(timeout=60)
    finally:
        for process in filter(None, (watching, setting)):
            process.kill()
            process.wait()
    assert setting.returncode == watching.returncode == 0
    assert said.endswith(f"{root} is at revision 2.\n")
    assert "revision 2" in seen and "- db/password: ***" in seen and "hunter" not in seen
    assert terminal.type("get", root, "db/password") == "hunter23\n"
    shown = terminal.type("diff", root, "config.yaml", "--show-secrets")
    assert shown == "- db/password: hunter23\n+ db/password: hunter22\n"
    assert "stays at revision 2" in terminal.type("rollback", root, "1", "--dry-run")
    terminal.type("rollback", root, "1", "--expect", "2")
    rows = json.loads(terminal.type("history", root, "--output", "json"))
    assert [int(row["revision"]) for row in rows] == [3, 2, 1]
    assert rows[2]["comment"] == "it begins"
    terminal.type("delete", root, "db/host", "--hosts", zookeeper.hosts)
    assert terminal.type("get", root) == "db:\n  password: hunter22\n"
    said = terminal.type("apply", root, "-", stdin="a: [1", code=2)
    assert "not YAML" in said and root in said and "'zookeeper_default'" in said
    said = terminal.type("set", root, "a", "1", "--expect", "2", code=1)
    assert "at revision 4, not 2" in said
    assert "begins with a slash" in terminal.type("get", "typed", code=2)
    assert "'nobody'" in terminal.type("get", root, "--conn-id", "nobody", code=1)
