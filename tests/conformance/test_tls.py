# SPDX-License-Identifier: Apache-2.0
"""An Execution API behind TLS: whom the supervisor trusts, and how it says who it is."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import airflow
import pytest
import trustme
from packaging.version import Version
from supervised import Supervised

DAG = """
from airflow.sdk import DAG, task
with DAG("d"):
    @task
    def say():
        print("ran")
    say()
"""
TRUSTED = "AIRFLOW__API__SSL_CERT"


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def serving(
    authority: trustme.CA, name: str = "localhost", common_name: str | None = None
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, common_name=common_name).configure_cert(context)
    return context


def written(pem: trustme.Blob, path: Path) -> str:
    pem.write_to_path(path)
    return str(path)


def run(folder: Path, tls: ssl.SSLContext, **options: object):
    with Supervised(folder, tls=tls, **options) as supervised:
        (supervised.dags / "dag.py").write_text(DAG)
        return supervised.run("say")


def test_server_signed_by_the_configured_authority_is_trusted(tmp_path, folder, authority):
    pem = written(authority.cert_pem, tmp_path / "ca.pem")
    ended = run(tmp_path, serving(authority), **{TRUSTED: pem})
    assert ended.outcome == "success"
    assert "ran" in ended.events


@pytest.mark.parametrize(
    "case",
    [
        "a stranger signed it",
        "it is of another name",
        "only its common name is right",
        "it is of another address",
    ],
)
def test_server_that_cannot_prove_itself_gets_no_token(tmp_path, folder, authority, case):
    pem = written(authority.cert_pem, tmp_path / "ca.pem")
    if case == "a stranger signed it":
        tls = serving(trustme.CA())
    elif case == "only its common name is right":
        tls = serving(authority, "elsewhere.example.org", common_name="localhost")
    elif case == "it is of another address":
        tls = serving(authority, "192.0.2.1")
    else:
        tls = serving(authority, "elsewhere.example.org")
    with Supervised(tmp_path, tls=tls, **{TRUSTED: pem}) as supervised:
        (supervised.dags / "dag.py").write_text(DAG)
        run = supervised.start("say")
        ended = supervised.end_of(run)
        assert ended.outcome == "failed"
        assert "certificate" in ended.info, "says why"
        assert supervised.requests(run) == []
        assert supervised.api.strangers == []


def test_server_that_wants_to_know_its_clients_is_shown_a_certificate(tmp_path, folder, authority):
    tls = serving(authority)
    tls.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(tls)
    client = authority.issue_cert("worker.example.org")
    ended = run(
        tmp_path,
        tls,
        **{
            TRUSTED: written(authority.cert_pem, tmp_path / "ca.pem"),
            "AIRFLOW__API__CLIENT_SSL_CERT": written(
                client.cert_chain_pems[0], tmp_path / "client.pem"
            ),
            "AIRFLOW__API__CLIENT_SSL_KEY": written(
                client.private_key_pem, tmp_path / "client.key"
            ),
        },
    )
    assert ended.outcome == "success"
    assert "ran" in ended.events


# Who signs for the server ("ours" does) in the options of section [api] and in the variables of the
# environment that stand for the system's own authorities; and whether the server is then trusted.
# Airflow 3.4 adds the system's to those that are configured, unless it is told not to.
AT_LEAST_3_4 = Version(airflow.__version__) >= Version("3.4.0b0")
NOT_PUBLIC = {"AIRFLOW__API__CLIENT_USE_PUBLIC_CERTS": "False"}
TRUST = {
    "nobody": ({}, {}, False),
    "in the system's file": ({}, {"SSL_CERT_FILE": "ours"}, True),
    "in the system's folder": ({}, {"SSL_CERT_DIR": "ours"}, True),
    "in the system's file, beside a configured certificate": (
        {TRUSTED: "theirs"},
        {"SSL_CERT_FILE": "ours"},
        True,
    ),
    "in the system's file, beside a configured authority": (
        {"AIRFLOW__API__SSL_CA_FILE": "theirs"},
        {"SSL_CERT_FILE": "ours"},
        AT_LEAST_3_4,
    ),
    "in the system's folder, beside a configured authority": (
        {"AIRFLOW__API__SSL_CA_FILE": "theirs"},
        {"SSL_CERT_DIR": "ours"},
        AT_LEAST_3_4,
    ),
    "in the system's file, which a configured authority excludes": (
        {"AIRFLOW__API__SSL_CA_FILE": "theirs", **NOT_PUBLIC},
        {"SSL_CERT_FILE": "ours"},
        False,
    ),
    "in the system's folder, which a configured authority excludes": (
        {"AIRFLOW__API__SSL_CA_FILE": "theirs", **NOT_PUBLIC},
        {"SSL_CERT_DIR": "ours"},
        False,
    ),
    "in the system's folder, without the public ones": (NOT_PUBLIC, {"SSL_CERT_DIR": "ours"}, True),
    "a configured authority": (
        {"AIRFLOW__API__SSL_CA_FILE": "ours"},
        {"SSL_CERT_FILE": "theirs"},
        True,
    ),
    "a configured certificate beside another authority": (
        {"AIRFLOW__API__SSL_CA_FILE": "theirs", TRUSTED: "ours"},
        {},
        True,
    ),
}


@pytest.mark.parametrize("supervisor", ["airflow", "native"])
@pytest.mark.parametrize("case", TRUST)
def test_who_may_sign_the_server_is_as_in_airflows_client(
    tmp_path, folder, authority, supervisor, case
):
    options, variables, trusted = TRUST[case]
    pems = {
        "ours": written(authority.cert_pem, tmp_path / "ours.pem"),
        "theirs": written(trustme.CA().cert_pem, tmp_path / "theirs.pem"),
    }
    # OpenSSL looks for a file that has the hash of the name.
    hashed = tmp_path / "hashed"
    hashed.mkdir()
    command = ["openssl", "x509", "-noout", "-hash", "-in", pems["ours"]]
    number = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    shutil.copy(pems["ours"], hashed / f"{number}.0")
    places = {
        name: str(hashed) if name == "SSL_CERT_DIR" else pems[who]
        for name, who in variables.items()
    }
    told = {name: pems.get(what, what) for name, what in options.items()}
    with Supervised(
        tmp_path / "run",
        tls=serving(authority),
        variables=places,
        SUPERVISOR=supervisor,
        WARM="off",
        **told,
    ) as supervised:
        (supervised.dags / "dag.py").write_text(DAG)
        run = supervised.start("say")
        ended = supervised.end_of(run)
        assert supervised.supervised_by()[0].startswith(supervisor)
        if trusted:
            assert ended.outcome == "success"
        else:
            assert ended.outcome == "failed"
            assert "certificate" in ended.info
            assert supervised.requests(run) == []
            assert supervised.api.strangers == []
