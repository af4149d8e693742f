# SPDX-License-Identifier: Apache-2.0
"""What a connection of type zookeeper means, and how errors are told. No I/O."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.exceptions import AirflowException
from airflow.models.connection import Connection
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from kazoo import exceptions as kazoo
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.security import CREATOR_ALL_ACL, OPEN_ACL_UNSAFE

from zk_executor import exceptions, sizes
from zk_executor.get_provider_info import CONNECTION_TYPE
from zk_executor.hooks.login import read_login
from zk_executor.hooks.zookeeper import ZookeeperHook


def connection(host="zk1:2181", **fields):
    extra = fields.pop("extra", {})
    names = {"schema": None, "login": None, "password": None, "port": None}
    return SimpleNamespace(
        conn_type="zookeeper", host=host, extra_dejson=extra, **{**names, **fields}
    )


def test_several_hosts_and_a_chroot_become_one_address() -> None:
    login = read_login(connection("zk1, zk2:2182,[::1]:3", schema="/prod/", port=2000), "c")
    assert login.address == "zk1:2000,zk2:2182,[::1]:3/prod"
    assert read_login(connection("zk1:1/prod"), "c").address == "zk1:1/prod"


def test_without_a_login_znodes_are_open_and_with_one_they_are_the_creators() -> None:
    arguments = read_login(connection(), "c").client_arguments()
    assert arguments["default_acl"] == OPEN_ACL_UNSAFE
    assert "auth_data" not in arguments
    arguments = read_login(connection(login="me", password="secret"), "c").client_arguments()
    assert arguments["default_acl"] == CREATOR_ALL_ACL
    assert arguments["auth_data"] == [("digest", "me:secret")]


def test_sasl_replaces_digest() -> None:
    extra = {"sasl_mechanism": "DIGEST-MD5"}
    arguments = read_login(
        connection(login="me", password="secret", extra=extra), "c"
    ).client_arguments()
    assert "auth_data" not in arguments
    assert arguments["sasl_options"]["username"] == "me"
    extra = {"sasl_mechanism": "GSSAPI", "sasl_principal": "me@EXAMPLE.ORG"}
    options = read_login(connection(extra=extra), "c").client_arguments()["sasl_options"]
    assert options == {"mechanism": "GSSAPI", "service": "zookeeper", "principal": "me@EXAMPLE.ORG"}


def test_tls_is_on_with_its_files_and_checks_the_servers(tmp_path) -> None:
    files = {name: str(tmp_path / name) for name in ("ca_file", "cert_file", "key_file")}
    for name in files:
        (tmp_path / name).touch()
    arguments = read_login(
        connection(extra={**files, "key_password": "secret"}), "c"
    ).client_arguments()
    assert arguments["use_ssl"] is True
    assert arguments["verify_certs"] is arguments["check_hostname"] is True
    assert arguments["ca"] == files["ca_file"]
    assert arguments["keyfile_password"] == "secret"
    assert "use_ssl" not in read_login(connection(), "c").client_arguments()


def test_an_ipv6_address_in_a_uri_is_a_server() -> None:
    uri = "zookeeper://[2001:db8::7]:2182/production"
    login = read_login(Connection(conn_id="six", uri=uri), "six")
    assert login.address == "[2001:db8::7]:2182/production"


FORMS = re.findall(
    r"^\| `((?:zookeeper:|\{).*)` \| `(.*)` \|$",
    (Path(__file__).resolve().parents[2] / "docs/configuration-in-zookeeper.md").read_text(),
    re.MULTILINE,
)


def test_the_document_names_forms_of_a_connection() -> None:
    assert len(FORMS) == 7


@pytest.mark.parametrize(("value", "address"), FORMS)
def test_a_documented_form_of_a_connection_works_in_the_environment(
    monkeypatch, value, address
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ZOOKEEPER_DEFAULT", value)
    login = ZookeeperHook().login
    assert login.address == address
    if "password" in value:
        assert (login.user, login.session_timeout) == ("user", 20.0)


def test_the_form_that_the_document_warns_of_does_not_work(monkeypatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MY_ZK", "zookeeper://zk1:2181,zk2:2181/prod")
    with pytest.raises(Exception, match="isn't defined|Port could not be cast"):
        _ = ZookeeperHook("my_zk").login


def test_without_a_connection_the_executors_servers_are_asked(monkeypatch) -> None:
    def missing(_, conn_id):
        raise AirflowNotFoundException(conn_id)

    monkeypatch.setattr(BaseHook, "get_connection", missing)
    monkeypatch.setenv("AIRFLOW__ZK_EXECUTOR__HOSTS", " zk1, [::1]")
    assert ZookeeperHook().login.hosts == "zk1:2181,[::1]:2181"
    monkeypatch.setenv("AIRFLOW__ZK_EXECUTOR__HOSTS", "zk1:0")
    with pytest.raises(exceptions.ZookeeperInvalidConnection, match=r"\[zk_executor\] hosts"):
        _ = ZookeeperHook().login
    with pytest.raises(AirflowNotFoundException):
        _ = ZookeeperHook("another").login


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"host": ""}, "at least one server"),
        ({"host": "zk1:0"}, "1 to 65535"),
        ({"host": "http://zk1"}, "1 to 65535"),
        ({"host": "zk1/a", "schema": "b"}, "different ones"),
        ({"schema": "a//b"}, "path"),
        ({"password": "secret"}, "must be a login"),
        ({"login": "me"}, "needs one"),
        ({"extra": {"acl": "everyone"}}, "one of creator"),
        ({"extra": {"sasl_mechanism": "PLAIN"}}, "DIGEST-MD5"),
        ({"extra": {"sasl_mechanism": "DIGEST-MD5"}}, "login and a password"),
        ({"extra": {"ca_file": "/nowhere/ca.pem"}}, "no such file"),
        ({"extra": {"use_tls": "perhaps"}}, "true or false"),
        ({"extra": {"session_timeout": "long"}}, "number of seconds"),
        ({"extra": {"operation_timeout": float("nan")}}, "number of seconds"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(fields, problem) -> None:
    with pytest.raises(exceptions.ZookeeperInvalidConnection, match=problem) as caught:
        read_login(connection(**fields), "my_conn")
    assert "'my_conn'" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_login_does_not_print_its_password() -> None:
    login = read_login(connection(login="me", password="hunter22"), "c")
    assert "hunter22" not in repr(login)
    assert login.secrets == ("hunter22",)


def test_every_field_of_the_form_is_read() -> None:
    """What the form offers has a meaning, and the defaults that it shows are the real ones."""
    fields = CONNECTION_TYPE["conn-fields"]
    defaults = {name: field["schema"]["default"] for name, field in fields.items()}
    assert read_login(connection(extra=defaults), "c") == read_login(connection(), "c")
    assert set(ZookeeperHook.get_connection_form_widgets()) == {
        f"extra__zookeeper__{name}" for name in fields
    }
    assert "hidden_fields" in ZookeeperHook.get_ui_field_behaviour()
    json.dumps(CONNECTION_TYPE)


@pytest.mark.parametrize(
    ("error", "ours", "says"),
    [
        (kazoo.ConnectionLoss(), exceptions.ZookeeperConnectionError, "no server answered"),
        (KazooTimeoutError(), exceptions.ZookeeperConnectionError, "look before repeating"),
        (kazoo.SessionExpiredError(), exceptions.ZookeeperSessionExpired, "session has expired"),
        (kazoo.NoAuthError(), exceptions.ZookeeperPermissionError, "password is wrong"),
        (kazoo.AuthFailedError(), exceptions.ZookeeperAuthError, "refuse the login"),
        (kazoo.NoNodeError(), exceptions.ZookeeperNotFound, "no such znode"),
        (kazoo.NodeExistsError(), exceptions.ZookeeperAlreadyExists, "exists already"),
        (kazoo.BadVersionError(), exceptions.ZookeeperStaleVersion, "nothing was done"),
        (kazoo.NotEmptyError(), exceptions.ZookeeperNotEmpty, "children"),
        (kazoo.MarshallingError(), exceptions.ZookeeperError, "MarshallingError"),
    ],
)
def test_an_error_names_connection_hosts_path_and_what_to_do(error, ours, says) -> None:
    explained = exceptions.explain(
        error, conn_id="my_conn", hosts="zk1:2181", path="/a/b", doing="set", login="me"
    )
    assert type(explained) is ours
    assert isinstance(explained, AirflowException)
    for part in ("'my_conn'", "zk1:2181", "/a/b", "set", "login me", says):
        assert part in str(explained)


@pytest.mark.parametrize("path", ["a/b", "", "/a/", "//", "/a/../b", "/a/./b", "/a\n", None])
def test_what_is_no_path_is_refused(path) -> None:
    with pytest.raises(exceptions.ZookeeperInvalidPath, match="'my_conn'"):
        exceptions.check_path(path, conn_id="my_conn")


def test_a_value_over_a_megabyte_is_refused_with_its_size() -> None:
    sizes.check_value(b"x" * 1_000_000, "connection 'c': /a")
    with pytest.raises(exceptions.ZookeeperValueTooLarge, match="1000001 bytes"):
        sizes.check_value(b"x" * 1_000_001, "connection 'c': /a")
