# SPDX-License-Identifier: Apache-2.0
"""An Execution API behind TLS: whom the supervisor trusts, and how it says who it is."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme
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


def serving(authority: trustme.CA, name: str = "localhost") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
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


@pytest.mark.parametrize("case", ["a stranger signed it", "it is of another name"])
def test_server_that_cannot_prove_itself_gets_no_token(tmp_path, folder, authority, case):
    pem = written(authority.cert_pem, tmp_path / "ca.pem")
    if case == "a stranger signed it":
        tls = serving(trustme.CA())
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
