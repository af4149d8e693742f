# SPDX-License-Identifier: Apache-2.0
"""An API server behind a proxy: a worker reaches it where Airflow's own supervisor does."""

from __future__ import annotations

import ssl
import urllib.parse

import pytest
import trustme
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


def run(folder, variables, supervisor, *, scheme="http", tls=None, credentials="", **options):
    """Run the task; return how it ended, the proxy and who supervised."""
    # The server's port is known once it is there: the proxy starts after it, the program with both.
    supervised = Supervised(folder, tls=tls, SUPERVISOR=supervisor, **options)
    with supervised.serving() as api, Proxy(api.port, credentials) as proxy:
        supervised.set_variables(
            {name: value.replace("PROXY", proxy.address) for name, value in variables.items()}
            | {URL: f"{scheme}://{HOST}/execution/"}
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
