# SPDX-License-Identifier: Apache-2.0
"""The provider at its edges, on ZooKeeper servers with default settings: sizes, secrets, logins."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from contextvars import copy_context
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kazoo.security import make_digest_acl_credential
from zk_clients import Connect, MakeHook, clients, hooks, set_connection

from devstack import ZooKeeperServer
from zk_executor import _core, exceptions
from zk_executor.config import plans
from zk_executor.config.store import ConfigStore
from zk_executor.hooks.login import read_login
from zk_executor.hooks.zookeeper import ZookeeperHook
from zk_executor.locks import (
    current_lock,
    zk_barrier,
    zk_lock,
    zk_read_lock,
    zk_semaphore,
    zk_write_lock,
)
from zk_executor.locks.errors import ZookeeperLockError, ZookeeperLockTimeout
from zk_executor.members import Member, Registration, group_path, list_members
from zk_executor.members.member import SLOTS_MAX
from zk_executor.operators.atomic import ZookeeperAtomicOperator
from zk_executor.operators.atomic_core import Atomic, Operation
from zk_executor.operators.cluster import ZookeeperClusterOperator
from zk_executor.operators.config import ZookeeperConfigOperator
from zk_executor.secrets.zookeeper import ZookeeperSecretsBackend
from zk_executor.sensors.config import ZookeeperConfigSensor


def typed(*words: str, stdin: bytes = b"") -> tuple[int, bytes]:
    """What an ``airflow zk config`` command in this process ends with, and prints."""
    from airflow.cli.cli_parser import get_parser

    output, given_stdin = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True), sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin), "utf-8")
    code = 0
    try:
        with redirect_stdout(output):
            args = get_parser().parse_args(["zk", "config", *words])
            args.func(args)
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.stdin = given_stdin
    return code, output.buffer.getvalue()


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
    return ZookeeperConfigOperator.execute.__wrapped__(operator, {})  # type: ignore[attr-defined]


def change(action: str, **arguments: Any) -> Any:
    operator = ZookeeperAtomicOperator(task_id="task", action=action, **arguments)
    return ZookeeperAtomicOperator.execute.__wrapped__(operator, {})  # type: ignore[attr-defined]


# Sizes


def test_one_change_of_a_tree_whose_checks_do_not_fit_is_made(make_hook: MakeHook) -> None:
    """12,000 keys, of which one changes: the checks of the others would be more than a request of
    a server with default settings, which closes the connection of who sends more."""
    root = "/services/production/europe/billing/config-store"
    keys = [f"component-{n // 100:03d}/settings/name-of-the-option-{n:05d}" for n in range(12_000)]
    store = ConfigStore(make_hook(), root)
    for begin in range(0, len(keys), 3_000):
        part = dict.fromkeys(keys[begin : begin + 3_000], "v")
        plans.plan_apply(store, part, keep_others=True).commit("me")
    tree = dict.fromkeys(keys, "v")
    plan = plans.plan_apply(store, {**tree, keys[0]: "changed"})
    assert [one.key for one in plan.changes] == [keys[0]] and len(plan.unchanged) > 11_999
    assert plan.commit("me") == 5
    assert plans.get(store, keys[0]) == (5, "changed")
    assert plans.plan_rollback(store, 4).commit("me") == 6
    assert plans.get(store, keys[0]) == (6, "v")
    with pytest.raises(exceptions.ZookeeperValueTooLarge, match="'test'.*12[0-9]+ changes.*parts"):
        plans.plan_apply(store, dict.fromkeys(keys, "w")).commit("me")
    assert store.revision() == 6


def test_values_and_changes_are_taken_up_to_the_limit_and_refused_above_it(
    make_hook: MakeHook, connect: Connect
) -> None:
    client, hook = connect(), make_hook()
    largest, more = b"x" * 1_000_000, b"x" * 1_000_001
    hook.call("create", "/large", largest)
    hook.call("set", "/large", largest)
    with pytest.raises(exceptions.ZookeeperValueTooLarge, match="'test'.*/large.*1000001 bytes"):
        hook.call("set", "/large", more)
    atomic = Atomic(client, "test")
    atomic.create_if_absent("/large-atomic", largest)
    with pytest.raises(exceptions.ZookeeperError, match="/large-atomic.*1000001 bytes"):
        atomic.create_if_absent("/large-atomic", more)
    store = ConfigStore(hook, "/large-config")
    plans.plan_set(store, "a", largest).commit("me")
    assert plans.plan_set(store, "a", largest).changes == []
    with pytest.raises(exceptions.ZookeeperValueTooLarge, match="/large-config/b.*1000001 bytes"):
        plans.plan_set(store, "b", more).commit("me")
    with pytest.raises(exceptions.ZookeeperError, match="more.*nine.*bytes"):
        Registration(client, "more", Member("nine", facts={"a": "x" * 1_000_001})).start()
    # Two values that fit alone, and not together.
    with pytest.raises(exceptions.ZookeeperError, match="/two.*2 operations take.*bytes"):
        change_two(atomic)
    assert client.exists("/two") is None


def change_two(atomic: Atomic) -> None:
    half = os.urandom(600_000)
    atomic.apply([Operation("create", "/two", half), Operation("create", "/two/b", half)])


# What is kept


def test_a_tree_remembers_how_many_revisions_are_kept(
    make_hook: MakeHook, conn_id: str, zookeeper: ZooKeeperServer
) -> None:
    root = {"path": "/remembered", "zookeeper_conn_id": conn_id}
    operate("set", key="n", value=0, history_max=120, **root)
    hook = make_hook()
    for number in range(1, 110):
        plans.plan_set(ConfigStore(hook, "/remembered"), "n", number).commit("without a limit")
    assert len(operate("history", **root)) == 110
    operate("set", key="n", value="fewer", history_max=2, **root)
    for number in range(12):
        plans.plan_set(ConfigStore(hook, "/remembered"), "n", number).commit("without a limit")
    assert len(operate("history", **root)) == 2
    for wrong in (0, -1, 10**9, "many"):
        with pytest.raises(exceptions.ZookeeperError, match="'test'.*/remembered.*history_max"):
            ConfigStore(hook, "/remembered", history_max=wrong)


# Values


def test_bytes_that_are_no_text_come_back_through_get_and_apply(
    make_hook: MakeHook, connect: Connect, conn_id: str
) -> None:
    blob = b"\xff\x00\xfe"
    store = ConfigStore(make_hook(), "/binary")
    plans.plan_set(store, "blob", blob).commit("me")
    assert plans.plan_apply(store, plans.get(store)[1]).changes == []
    root = {"path": "/binary", "zookeeper_conn_id": conn_id}
    shown = operate("get", **root)
    json.dumps(shown)
    operate("set", key="copy", value=operate("get", key="blob", **root)["value"], **root)
    assert connect().get("/binary/copy")[0] == blob
    operate("apply", tree={**shown["value"], "more": 1}, **root)
    assert connect().get("/binary/blob")[0] == blob


def test_what_yaml_says_comes_back_as_it_was_written(make_hook: MakeHook) -> None:
    store = ConfigStore(make_hook(), "/written")
    text = "version: 1.10\nday: 2026-01-01\nanswer: yes\nnothing: ~\nport: 5432\n"
    plans.plan_apply(store, text).commit("me")
    assert plans.get(store)[1] == {
        "version": "1.10",
        "day": "2026-01-01",
        "answer": "yes",
        "nothing": "~",
        "port": "5432",
    }
    assert plans.plan_apply(store, text).changes == []
    assert plans.plan_apply(store, plans.get(store)[1]).changes == []


def test_atomic_changes_store_values_as_configurations_do(connect: Connect, conn_id: str) -> None:
    client = connect()
    where = {"path": "/values/doc", "zookeeper_conn_id": conn_id}
    change("create_if_absent", value={"a": 1, "b": None}, **where)
    assert json.loads(client.get("/values/doc")[0]) == {"a": 1, "b": None}
    change("compare_and_set", value={"a": 2}, version=0, **where)
    assert json.loads(client.get("/values/doc")[0]) == {"a": 2}
    operations = [{"verb": "set", "path": "/values/doc", "value": None}]
    change("transaction", operations=operations, zookeeper_conn_id=conn_id)
    assert json.loads(client.get("/values/doc")[0]) is None
    for action, arguments in (
        ("compare_and_set", {"value": object(), "version": 2}),
        ("compare_and_set", {"value": None, "version": 2}),
        ("compare_and_set", {"value": "\ud800", "version": 2}),
        ("compare_and_set", {"value": "x", "version": None}),
        ("compare_and_set", {"value": "x", "version": ""}),
        ("compare_and_set", {"value": "x", "version": True}),
        ("compare_and_set", {"value": "x", "version": 2.5}),
    ):
        with pytest.raises(exceptions.ZookeeperError, match="/values/doc.*zk_test"):
            change(action, **arguments, **where)
    assert client.get("/values/doc")[0] == b"null"


def test_a_sensor_meets_the_number_that_set_stored(conn_id: str) -> None:
    root = {"path": "/met", "zookeeper_conn_id": conn_id}
    for value in (5, True, [1, "x"], 1.5, "text"):
        operate("set", key="n", value=value, **root)
        sensor = ZookeeperConfigSensor(task_id="wait", key="n", equals=value, **root)
        assert sensor.poke({}).is_done, value
    assert not ZookeeperConfigSensor(task_id="wait", key="n", equals=6, **root).poke({}).is_done


def test_a_secret_that_is_no_text_is_told_as_that(connect: Connect, zookeeper: Any) -> None:
    connect().create("/airflow/variables/no_text", b"\xff\x00", makepath=True)
    backend = ZookeeperSecretsBackend(zookeeper.hosts)
    with pytest.raises(
        exceptions.ZookeeperError, match="/variables/no_text.*no UTF-8 text"
    ) as caught:
        backend.get_variable("no_text")
    assert "ensemble up" not in str(caught.value)
    backend.close()


def test_secrets_that_a_task_reads_stay_out_of_xcom_unless_asked_for(conn_id: str) -> None:
    root = {"path": "/hidden", "zookeeper_conn_id": conn_id}
    operate("apply", tree={"db": {"password": "hunter22", "host": "a"}}, **root)
    assert operate("get", **root)["value"] == {"db": {"password": "***", "host": "a"}}
    assert operate("get", key="db/password", **root)["value"] == "***"
    assert operate("get", key="db", sensitive=True, **root)["value"]["host"] == "***"
    shown = operate("get", show_secrets=True, **root)["value"]
    assert shown["db"]["password"] == "hunter22"
    sensor = ZookeeperConfigSensor(task_id="wait", key="db/password", **root)
    assert sensor.poke({}).xcom_value == "***"
    sensor = ZookeeperConfigSensor(task_id="wait", key="db/password", show_secrets=True, **root)
    assert sensor.poke({}).xcom_value == "hunter22"
    # What stands for a secret does not replace it.
    for door in (
        lambda: operate("apply", tree=operate("get", **root)["value"], **root),
        lambda: operate("set", key="db/password", value="***", **root),
    ):
        with pytest.raises(exceptions.ZookeeperError, match="/hidden.*password.*hidden"):
            door()
    assert operate("get", show_secrets=True, **root)["value"] == shown


def test_every_value_that_is_accepted_comes_back_equal_through_every_door(
    make_hook: MakeHook,
    connect: Connect,
    conn_id: str,
    zookeeper: ZooKeeperServer,
) -> None:
    """Set by the operator; read by it, by the command, a sensor, the secrets backend, an older
    revision; applied and rolled back; and the znode has the same bytes all the time."""
    store, client = ConfigStore(make_hook(), "/doors"), connect()
    backend = ZookeeperSecretsBackend(zookeeper.hosts, variables_path="/doors")
    root = {"path": "/doors", "zookeeper_conn_id": conn_id}
    scalars = st.one_of(
        st.text(max_size=20), st.integers(), st.booleans(), st.floats(), st.binary(max_size=20)
    )
    names = st.text(min_size=1, max_size=10)

    @given(names, st.one_of(scalars, st.lists(scalars, max_size=4)))
    @settings(
        max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    def every_door(name: str, value: Any) -> None:
        before = store.read()
        try:
            done = operate("set", key=name, value=value, **root)
        except exceptions.ZookeeperError as error:
            assert "'zk_test'" in str(error) and "/doors" in str(error)
            str(error).encode()
            assert store.read() == before
            return
        path = store.path_of(name)
        stored = client.get(path)[0]
        read = operate("get", key=name, show_secrets=True, **root)["value"]
        if isinstance(value, str):
            assert stored == value.encode() and read == value
        assert operate("set", key=name, value=read, **root)["changed"] == []
        whole = operate("get", show_secrets=True, **root)["value"]
        assert operate("apply", tree=json.loads(json.dumps(whole)), **root)["changed"] == []
        sensor = ZookeeperConfigSensor(task_id="t", key=name, equals=value, **root)
        assert sensor.poke({}).is_done
        assert plans.get(store, name, revision=done["revision"])[1] == read
        if isinstance(read, str) and "/" not in name and "%" not in name and read:
            assert backend.get_variable(name) == read
        if name.startswith("-"):
            return  # an option, for a command
        here = ("/doors", "--conn-id", conn_id)
        code, printed = typed("get", *here[:1], name, *here[1:])
        assert code == 0 and printed.removesuffix(b"\n") == stored.removesuffix(b"\n")
        assert typed("set", *here[:1], name, "-", *here[1:], stdin=printed)[0] == 0
        assert client.get(path)[0] == stored
        for form in ("yaml", "json"):
            code, printed = typed("get", *here, "--output", form)
            assert code == 0
            code, printed = typed("apply", "/doors", "-", *here[1:], stdin=printed)
            assert (code, printed) == (0, b"nothing to change\n")
        operate("delete", key=name, **root)
        operate("rollback", revision=done["revision"], **root)
        assert client.get(path)[0] == stored

    every_door()
    backend.close()


# Logins


def test_two_logins_on_one_tree_are_told_what_is_in_the_way_and_the_recipe_works(
    make_hook: MakeHook, own_zookeeper: ZooKeeperServer
) -> None:
    def login(name: str, **extra: Any) -> ZookeeperHook:
        return make_hook(
            hosts=own_zookeeper.hosts,
            user=name,
            password=f"of {name}",
            **{"acl": "creator", **extra},
        )

    alice, bob = login("alice"), login("bob")
    first, second = alice.get_conn(), bob.get_conn()
    Atomic(first, "alice").add("/alice/n", 1)
    Registration(first, "ga", Member("x")).start()
    plans.plan_set(ConfigStore(alice, "/alice/c"), "k", "v").commit("x")
    with zk_lock("/alice/l", client=first):
        pass
    with pytest.raises(exceptions.ZookeeperError) as caught:
        Atomic(second, "bob").add("/n", 1)
    refused = [caught.value]
    with pytest.raises(exceptions.ZookeeperError) as caught:
        Registration(second, "gb", Member("y")).start()
    refused.append(caught.value)
    with pytest.raises(exceptions.ZookeeperError) as caught:
        list_members(second, "gb")
    refused.append(caught.value)
    with pytest.raises(exceptions.ZookeeperError) as caught:
        zk_lock("/alice/l", client=second, timeout=30).acquire()
    refused.append(caught.value)
    with pytest.raises(exceptions.ZookeeperError) as caught:
        zk_barrier("/alice/b", 2, client=second, timeout=30, key="k").wait()
    refused.append(caught.value)
    with pytest.raises(exceptions.ZookeeperError) as caught:
        plans.get(ConfigStore(bob, "/alice/c"))
    refused.append(caught.value)
    for path, error in zip(
        ("/zk_executor_markers", "/zk_executor_members", "/zk_executor_members", "/alice/l",
         "/alice/b", "/alice/c"),
        refused,
        strict=True,
    ):  # fmt: skip
        text = str(error)
        assert path in text and "bob" in text and "ACL" in text and "acl" in text, text
        assert "RuntimeInconsistency" not in text and "zookeeper_default" not in text
    # The recipe of docs/configuration-in-zookeeper.md: a list, the same in both connections.
    both = ",".join(
        f"digest:{make_digest_acl_credential(name, f'of {name}')}:cdrwa"
        for name in ("alice", "bob")
    )
    for server_root in ("/zk_executor_markers", "/zk_executor_members"):
        first.delete(server_root, recursive=True)
    alice, bob = login("alice", acl=both), login("bob", acl=both)
    for hook, name in ((alice, "x"), (bob, "y")):
        client = hook.get_conn()
        assert Atomic(client, "both").add("/both/n", 1)[0] == (1 if name == "x" else 2)
        Registration(client, "both", Member(name)).start()
        with zk_lock("/both/l", client=client):
            pass
        store = ConfigStore(hook, "/both/c")
        plans.plan_set(store, "k", name).commit(name)
    assert sorted(list_members(bob.get_conn(), "both")) == ["x", "y"]
    assert plans.get(ConfigStore(alice, "/both/c"), "k") == (2, "y")
    with pytest.raises(exceptions.ZookeeperPermissionError):
        plans.get(ConfigStore(login("carol"), "/both/c"))


def test_a_list_of_acls_is_read_from_the_connection() -> None:
    class Fields:
        conn_type, host, schema, login, password, port = "zookeeper", "zk1", "", "a", "b", None
        extra_dejson = {"acl": "digest:a:hash=:cdrwa,world:anyone:r"}

    acls = read_login(Fields, "c").client_arguments()["default_acl"]
    assert [(acl.id.scheme, acl.id.id, acl.perms) for acl in acls] == [
        ("digest", "a:hash=", 31),
        ("world", "anyone", 1),
    ]
    for wrong in ("everybody", "digest:a:hash:xyz", "digest:a", ":::", "digest:a:cdrwa,"):
        Fields.extra_dejson = {"acl": wrong}
        with pytest.raises(exceptions.ZookeeperInvalidConnection, match="'c'.*acl"):
            read_login(Fields, "c")


def test_a_client_that_was_given_is_not_called_by_the_default_connections_name(
    connect: Connect,
) -> None:
    client = connect()
    client.create("/theirs", b"something else")
    with pytest.raises(exceptions.ZookeeperError) as caught:
        zk_lock("/theirs", client=client).acquire()
    refused = [caught.value]
    with pytest.raises(exceptions.ZookeeperError) as caught:
        zk_barrier("/theirs", 2, client=client).wait()
    refused.append(caught.value)
    with zk_lock("/mine", client=client), pytest.raises(exceptions.ZookeeperError) as caught:
        zk_lock("/mine", client=client).acquire()
    refused.append(caught.value)
    for error in refused:
        assert "zookeeper_default" not in str(error) and "given" in str(error)


# Locks


def test_a_lock_that_is_held_around_it_is_refused_at_once_and_others_wait(
    connect: Connect,
) -> None:
    client, other = connect(), connect()
    path = "/nested"
    with zk_lock(path, client=client) as held:
        for again in (
            lambda: zk_lock(path, client=client),
            lambda: zk_lock(path, client=other),
            lambda: zk_semaphore(path, 1, client=client),
            lambda: zk_write_lock(path, client=client),
        ):
            with pytest.raises(ZookeeperLockError, match="/nested.*not reentrant.*current_lock"):
                again().acquire()
        called = zk_lock(path, client=other)(lambda: None)
        with pytest.raises(ZookeeperLockError, match="not reentrant"):
            called()
        # In a context that was copied, too: what waits for it would never end.
        with (
            ThreadPoolExecutor(1) as pool,
            pytest.raises(ZookeeperLockError, match="not reentrant"),
        ):
            pool.submit(copy_context().run, zk_lock(path, client=other).acquire).result(60)
        assert held.check() and len(client.get_children(path)) == 1, "nobody stands in line"
        # Another thread is another contender.
        with (
            ThreadPoolExecutor(1) as pool,
            pytest.raises(ZookeeperLockTimeout, match="not our turn"),
        ):
            pool.submit(zk_lock(path, client=other, timeout=0.2).acquire).result(60)
        with zk_lock("/nested-other", client=client):
            pass
    with zk_lock(path, client=client):
        pass
    # Also without ``with``.
    first = zk_lock(path, client=client)
    first.acquire()
    with pytest.raises(ZookeeperLockError, match="not reentrant"):
        zk_lock(path, client=other).acquire()
    first.release()
    with zk_lock(path, client=other):
        pass


def test_readers_do_not_nest_and_a_semaphore_nests_as_far_as_its_leases(connect: Connect) -> None:
    client = connect()
    with zk_read_lock("/nested-rw", client=client):
        for again in (zk_read_lock, zk_write_lock):
            with pytest.raises(ZookeeperLockError, match="not reentrant"):
                again("/nested-rw", client=client).acquire()
    with (
        zk_semaphore("/nested-s", 2, client=client),
        zk_semaphore("/nested-s", 2, client=client),
        pytest.raises(ZookeeperLockError, match="not reentrant"),
    ):
        zk_semaphore("/nested-s", 2, client=client).acquire()


def test_a_template_is_rendered_in_the_task_and_refused_outside_of_one(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect()
    for use in (
        lambda: zk_lock("/pl/{{ ds }}", client=client).acquire(),
        lambda: zk_lock("/pl/{{ ds }}", client=client)(lambda: None)(),
        lambda: zk_barrier("/pl/{{ ds }}", 1, client=client, key="k").wait(),
        lambda: zk_barrier("/pl/b", 1, client=client, key="{{ ds }}").wait(),
    ):
        with pytest.raises(ZookeeperLockError, match="template.*only a task.*"):
            use()
    assert client.exists("/pl") is None
    with DAG("d", schedule=None):
        task = PythonOperator(task_id="t", python_callable=print)
    instance = SimpleNamespace(
        dag_id="d", run_id="r", task_id="t", map_index=-1, try_number=1, ds="2026-01-01"
    )
    given: dict[str, Any] = {"ti": instance, "task": task, "ds": "2026-01-01"}
    monkeypatch.setattr("airflow.sdk.get_current_context", lambda: given)
    seen = []
    locked = zk_lock("/pl/{{ ds }}", client=client)(lambda: seen.append(current_lock().path))
    locked()
    given["ds"] = "2026-01-02"
    locked()
    again = zk_lock("/pl/{% if ds %}{{ ds }}{% endif %}.yaml", client=client)
    with again:
        seen.append(again.path)
    assert seen == ["/pl/2026-01-01", "/pl/2026-01-02", "/pl/2026-01-02.yaml"]
    zk_barrier("/pl/barrier/{{ ds }}", 1, key="{{ ti.run_id }}", client=client).wait()
    (party,) = client.get_children("/pl/barrier/2026-01-02")
    assert json.loads(client.get(f"/pl/barrier/2026-01-02/{party}")[0])["key"] == "r"
    for wrong in ("/pl/{{ nobody }}", "/pl/{{ ds", "/pl/{{ '' }}", "/pl/{{ '/../x' }}"):
        with pytest.raises(ZookeeperLockError, match="/pl/"):
            zk_lock(wrong, client=client).acquire()


# Members


def test_slots_are_bounded_where_they_are_written_and_where_they_are_read(
    connect: Connect, conn_id: str, monkeypatch: pytest.MonkeyPatch, zookeeper: ZooKeeperServer
) -> None:
    client = connect()
    for wrong in (10**9, SLOTS_MAX + 1, -1, True, 1.5, "4", None):
        with pytest.raises(exceptions.ZookeeperError, match="bounded/a.*slots.*10000"):
            Registration(client, "bounded", Member("a", slots=wrong)).start()
    most = Registration(client, "bounded", Member("most", slots=SLOTS_MAX))
    most.start()
    with pytest.raises(exceptions.ZookeeperError, match="slots"):
        most.update(slots=10**9)
    assert list_members(client, "bounded")["most"].slots == SLOTS_MAX
    # Who writes past us counts as one that does not say.
    rogue = Member("rogue").encode().replace(b'"slots": 1', b'"slots": 1000000000')
    client.create(f"{group_path('bounded')}/rogue", rogue, ephemeral=True)
    assert list_members(client, "bounded")["rogue"].slots == 1
    operator = ZookeeperClusterOperator(
        task_id="t", action="route", group="bounded", keys=["a", "b"], count=2,
        zookeeper_conn_id=conn_id,
    )  # fmt: skip
    routed = ZookeeperClusterOperator.execute.__wrapped__(operator, {})  # type: ignore[attr-defined]
    assert sorted(routed["a"]) == ["most", "rogue"]
    most.stop()
    for nodes in (
        [("a", 10**9)],
        [("a", SLOTS_MAX + 1)],
        [("a", -1)],
        [(f"n{n}", SLOTS_MAX) for n in range(101)],
    ):
        with pytest.raises(ValueError, match="slots"):
            _core.ring_preference(nodes=nodes, keys=["k"], count=1)
    assert _core.ring_preference(nodes=[("a", SLOTS_MAX)], keys=["k"], count=1) == [["a"]]
