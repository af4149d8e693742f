# SPDX-License-Identifier: Apache-2.0
"""The hook with a ZooKeeper that has TLS, wants certificates, and signs in with SASL."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from devstack import ZooKeeperServer
from devstack.processes import free_port
from zk_executor.exceptions import ZookeeperAuthError, ZookeeperConnectionError
from zk_executor.exceptions import ZookeeperPermissionError as PermissionRefused
from zk_executor.hooks.zookeeper import ZookeeperHook

# Of the packages that Debian's ZooKeeper depends on.
NETTY = [
    Path(f"/usr/share/java/netty-{part}.jar")
    for part in ("buffer", "codec", "common", "handler", "resolver", "transport")
]
JAAS = """
Server {
  org.apache.zookeeper.server.auth.DigestLoginModule required
  user_airflow="the password"
  user_other="another password";
};
"""
MakeHook = Callable[..., ZookeeperHook]


class Files:
    """Certificates of an authority of this test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.ca = self.write("ca", self.authority)

    def write(self, name: str, authority: trustme.CA) -> str:
        path = self.folder / f"{name}.pem"
        authority.cert_pem.write_to_path(path)
        return str(path)

    def issue(self, name: str) -> tuple[str, str, str]:
        """A certificate, its key, and both in the one file that ZooKeeper reads."""
        issued = self.authority.issue_cert(name)
        chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        key = serialization.load_pem_private_key(
            issued.private_key_pem.bytes(), None
        ).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        files = {"crt": chain, "key": key, "both": key + chain}
        for kind, content in files.items():
            (self.folder / f"{name}.{kind}.pem").write_bytes(content)
        return tuple(str(self.folder / f"{name}.{kind}.pem") for kind in files)  # type: ignore[return-value]


@pytest.fixture(scope="module")
def files(session_folder: Path) -> Files:
    folder = session_folder / "secure-zookeeper"
    folder.mkdir()
    return Files(folder)


@pytest.fixture(scope="module")
def secure_port(files: Files) -> Iterator[int]:
    """A server whose other port takes only clients with a certificate."""
    port = free_port()
    (files.folder / "jaas.conf").write_text(JAAS)
    server = ZooKeeperServer(
        files.folder,
        jars=NETTY,
        jvm=(
            "-Dzookeeper.serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory",
            f"-Djava.security.auth.login.config={files.folder / 'jaas.conf'}",
            "-Dzookeeper.authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider",
        ),
        config=(
            f"secureClientPort={port}",
            f"ssl.keyStore.location={files.issue('localhost')[2]}",
            "ssl.keyStore.type=PEM",
            f"ssl.trustStore.location={files.ca}",
            "ssl.trustStore.type=PEM",
            "ssl.clientAuth=need",
        ),
    )
    with server:
        yield port


@pytest.fixture
def make_hook(
    files: Files, secure_port: int, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MakeHook]:
    certificate, key, _ = files.issue("airflow.example.org")
    made = []

    def make(**fields: Any) -> ZookeeperHook:
        extra = {
            "use_tls": True,
            "ca_file": files.ca,
            "cert_file": certificate,
            "key_file": key,
            "connect_timeout": 5,
            **fields.pop("extra", {}),
        }
        connection = {"conn_type": "zookeeper", "host": f"localhost:{secure_port}", "extra": extra}
        name = f"secure_{len(made)}"
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps({**connection, **fields}))
        made.append(ZookeeperHook(name))
        return made[-1]

    yield make
    for hook in made:
        hook.close()


def test_a_client_with_a_certificate_talks_over_tls(make_hook: MakeHook) -> None:
    hook = make_hook()
    assert hook.test_connection()[0], hook.test_connection()[1]
    hook.call("create", "/over-tls", b"hidden on its way")
    assert hook.call("get", "/over-tls")[0] == b"hidden on its way"


@pytest.mark.parametrize("case", ["a stranger's authority", "no certificate", "another name"])
def test_who_cannot_be_trusted_gets_no_connection(
    make_hook: MakeHook, files: Files, secure_port: int, case: str
) -> None:
    fields: dict[str, Any] = {
        "a stranger's authority": {"extra": {"ca_file": files.write("stranger", trustme.CA())}},
        "no certificate": {"extra": {"cert_file": "", "key_file": ""}},
        "another name": {"host": f"127.0.0.1:{secure_port}"},
    }[case]
    hook = make_hook(**fields)
    good, message = hook.test_connection()
    assert not good
    assert "TLS" in message and str(secure_port) in message
    with pytest.raises(ZookeeperConnectionError):
        hook.call("get", "/")


def test_a_login_over_sasl_owns_what_it_makes(make_hook: MakeHook) -> None:
    sasl = {"sasl_mechanism": "DIGEST-MD5"}
    mine = make_hook(login="airflow", password="the password", extra=sasl)
    assert "signed in as airflow" in mine.test_connection()[1]
    mine.call("create", "/over-sasl", b"mine")
    acls, _ = mine.call("get_acls", "/over-sasl")
    assert ("sasl", "airflow") in [(acl.id.scheme, acl.id.id) for acl in acls]
    # The certificate counts as a login of its own: ours alone must not let the other one in.
    by_sasl = [acl for acl in acls if acl.id.scheme == "sasl"]
    mine.call("set_acls", "/over-sasl", by_sasl)
    other = make_hook(login="other", password="another password", extra=sasl)
    with pytest.raises(PermissionRefused, match="/over-sasl"):
        other.call("get", "/over-sasl")
    assert mine.call("get", "/over-sasl")[0] == b"mine"


def test_a_wrong_sasl_password_is_told_as_such(make_hook: MakeHook) -> None:
    # A refusal needs no waiting, but on a busy machine it takes its time to come.
    extra = {"sasl_mechanism": "DIGEST-MD5", "connect_timeout": 60}
    hook = make_hook(login="airflow", password="a wrong secret", extra=extra)
    with pytest.raises(ZookeeperAuthError, match="login"):
        hook.get_conn()
    good, message = hook.test_connection()
    assert not good
    assert "login airflow" in message and "secret" not in message
