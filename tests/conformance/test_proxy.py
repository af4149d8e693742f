# SPDX-License-Identifier: Apache-2.0
"""An API server behind a proxy: a worker reaches it where Airflow's own supervisor does."""

from __future__ import annotations

import ssl
import urllib.parse
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from proxy import Proxy
from supervised import Supervised

DAG = """
from airflow.sdk import DAG, task
with DAG("d"):
    @task
    def say():
        print("ran")
    say()
"""
URL = "AIRFLOW__CORE__EXECUTION_API_SERVER_URL"
# A name that nobody but the proxy can resolve.
HOST = "api.invalid"
SUPERVISORS = ("airflow", "native")


def run(
    folder, variables, supervisor, *, scheme="http", host=HOST, tls=None, credentials="", **options
):
    """Run the task; return how it ended, the proxy and who supervised."""
    # The server's port is known once it is there: the proxy starts after it, the program with both.
    supervised = Supervised(folder, tls=tls, SUPERVISOR=supervisor, **options)
    with supervised.serving() as api, Proxy(api.port, credentials) as proxy:
        supervised.set_variables(
            {name: value.replace("PROXY", proxy.address) for name, value in variables.items()}
            | {URL: f"{scheme}://{host}/execution/"}
        )
        with supervised:
            (supervised.dags / "dag.py").write_text(DAG)
            ended = supervised.run("say")
        return ended, proxy, supervised.supervised_by()


@pytest.mark.parametrize("supervisor", SUPERVISORS)
@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_task_runs_through_the_proxy_of_the_environment(tmp_path, folder, supervisor, name):
    ended, proxy, by = run(tmp_path, {name: "http://PROXY"}, supervisor)
    assert ended.outcome == "success"
    assert "ran" in ended.events
    assert by[0].startswith(supervisor)
    assert {urllib.parse.urlsplit(line.split()[1]).hostname for line in proxy.asked} == {HOST}


@pytest.mark.parametrize("supervisor", SUPERVISORS)
def test_credentials_of_the_proxy_are_sent(tmp_path, folder, supervisor):
    variables = {"HTTP_PROXY": "http://me:pass%40word@PROXY"}
    ended, proxy, _ = run(tmp_path, variables, supervisor, credentials="me:pass@word")
    assert ended.outcome == "success"
    assert proxy.asked
    assert proxy.refused == 0


@pytest.mark.parametrize("supervisor", SUPERVISORS)
def test_refusal_of_the_proxy_fails_the_task(tmp_path, folder, supervisor):
    variables = {"HTTP_PROXY": "http://PROXY"}
    ended, proxy, _ = run(tmp_path, variables, supervisor, credentials="me:secret")
    assert ended.outcome == "failed"
    assert "407" in ended.info
    assert proxy.refused == len(proxy.asked) == 1


@pytest.mark.parametrize("supervisor", SUPERVISORS)
def test_tls_goes_through_a_tunnel_of_the_proxy(tmp_path, folder, supervisor):
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(tls)
    pem = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(pem)
    ended, proxy, _ = run(
        tmp_path,
        {"HTTPS_PROXY": "http://PROXY"},
        supervisor,
        scheme="https",
        tls=tls,
        AIRFLOW__API__SSL_CERT=str(pem),
    )
    assert ended.outcome == "success"
    assert set(proxy.asked) == {f"CONNECT {HOST}:443"}


def serving(authority: trustme.CA, name: str, folder: Path) -> ssl.SSLContext:
    """A server whose certificate has a name that trustme would not write."""
    key = ec.generate_private_key(ec.SECP256R1())
    signer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    signing_key = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(signer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .sign(signing_key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)
    return tls


@pytest.mark.parametrize("supervisor", SUPERVISORS)
@pytest.mark.parametrize(
    ("name", "trusted"),
    [
        ("*.example.invalid", True),
        ("a*.example.invalid", False),
        ("*i.example.invalid", False),
        ("a*i.example.invalid", False),
    ],
)
def test_wildcard_of_a_certificate_is_for_a_whole_label_only(
    tmp_path, folder, supervisor, name, trusted
):
    authority = trustme.CA()
    pem = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(pem)
    ended, proxy, by = run(
        tmp_path,
        {"HTTPS_PROXY": "http://PROXY"},
        supervisor,
        scheme="https",
        host="api.example.invalid",
        tls=serving(authority, name, tmp_path),
        AIRFLOW__API__SSL_CERT=str(pem),
    )
    assert by[0].startswith(supervisor)
    assert set(proxy.asked) == {"CONNECT api.example.invalid:443"}
    assert ended.outcome == ("success" if trusted else "failed")
    if not trusted:
        assert "certificate" in ended.info


@pytest.mark.parametrize("variable", ["https://PROXY", "socks5://PROXY"])
def test_proxy_that_the_worker_cannot_use_leaves_tasks_to_airflow(tmp_path, folder, variable):
    _, _, by = run(tmp_path, {"HTTP_PROXY": variable}, "auto")
    assert by == ["airflow reason=proxy"]


def test_server_that_no_proxy_names_is_reached_directly(tmp_path, folder):
    with Proxy(1) as proxy:
        variables = {"HTTP_PROXY": f"http://{proxy.address}", "NO_PROXY": "example.org,127.0.0.1"}
        with Supervised(tmp_path, variables=variables) as supervised:
            (supervised.dags / "dag.py").write_text(DAG)
            assert supervised.run("say").outcome == "success"
        assert proxy.asked == []
