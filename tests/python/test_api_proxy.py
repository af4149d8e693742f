# SPDX-License-Identifier: Apache-2.0
"""The proxy for the Execution API is the one that httpx would take."""

from __future__ import annotations

import pytest

from zk_executor.worker import api_proxy
from zk_executor.worker.api_proxy import Proxy, choose

httpx = api_proxy.client_library()
NONE = Proxy()
REFUSED = Proxy(refusal="proxy")
P = "http://proxy.example.org:3128"
USED = Proxy(P)
# httpx2 reads networks. For httpx they are a host's address with a path behind it.
NETWORK = NONE if httpx.__name__ == "httpx2" else USED
API = "http://api.example.org:8080/execution/"
TLS = "https://api.example.org/execution/"

# Variables, the API's URL, what comes of them.
TABLE = [
    ({}, API, NONE),
    ({"HTTP_PROXY": P}, API, USED),
    ({"http_proxy": P}, API, USED),
    ({"HTTP_PROXY": "http://other:1", "http_proxy": P}, API, USED),
    ({"HTTP_PROXY": P, "http_proxy": ""}, API, NONE),
    ({"HTTP_PROXY": P}, TLS, NONE),
    ({"HTTPS_PROXY": P}, TLS, USED),
    ({"https_proxy": P}, API, NONE),
    ({"ALL_PROXY": P}, API, USED),
    ({"all_proxy": P}, TLS, USED),
    ({"ALL_PROXY": "http://other:1", "HTTP_PROXY": P}, API, USED),
    ({"HTTP_PROXY": "proxy.example.org:3128"}, API, USED),
    ({"HTTP_PROXY": "http://proxy.example.org"}, API, Proxy("http://proxy.example.org:80")),
    ({"HTTP_PROXY": "http://[::1]:3128"}, API, Proxy("http://[::1]:3128")),
    ({"HTTP_PROXY": "http://me:pass%40word@proxy.example.org:3128"}, API,
     Proxy(P, "me", "pass@word")),
    ({"HTTP_PROXY": "http://me@proxy.example.org:3128"}, API, Proxy(P, "me", "")),
    ({"HTTP_PROXY": "https://proxy.example.org"}, API, REFUSED),
    ({"HTTP_PROXY": "socks5://proxy.example.org:1080"}, API, REFUSED),
    ({"ALL_PROXY": "socks5h://proxy.example.org:1080"}, TLS, REFUSED),
    ({"HTTP_PROXY": "ftp://proxy.example.org"}, API, REFUSED),
    # Airflow's client makes the transports of all variables before it sends anything.
    ({"HTTPS_PROXY": "ftp://proxy.example.org"}, API, REFUSED),
    ({"HTTP_PROXY": P, "NO_PROXY": "*"}, API, NONE),
    ({"HTTP_PROXY": P, "no_proxy": "other, * "}, API, NONE),
    ({"HTTP_PROXY": P, "NO_PROXY": "example.org"}, API, NONE),
    ({"HTTP_PROXY": P, "NO_PROXY": ".example.org"}, API, NONE),
    ({"HTTP_PROXY": P, "NO_PROXY": ".api.example.org"}, API, USED),
    ({"HTTP_PROXY": P, "NO_PROXY": "API.Example.ORG"}, API, NONE),
    ({"HTTP_PROXY": P, "NO_PROXY": "ple.org"}, API, USED),
    ({"HTTP_PROXY": P, "NO_PROXY": "x,, api.example.org:8080"}, API, NONE),
    ({"HTTP_PROXY": P, "NO_PROXY": "api.example.org:9"}, API, USED),
    ({"HTTP_PROXY": P, "NO_PROXY": "http://api.example.org"}, API, NONE),
    ({"HTTP_PROXY": P, "NO_PROXY": "https://api.example.org"}, API, USED),
    ({"HTTP_PROXY": P, "NO_PROXY": "10.1.2.3"}, "http://10.1.2.3:80/execution/", NONE),
    ({"HTTP_PROXY": P, "NO_PROXY": "10.1.0.0/16"}, "http://10.1.2.3:80/execution/", NETWORK),
    ({"HTTP_PROXY": P, "NO_PROXY": "10.1.2.3/16"}, "http://10.1.2.3:80/execution/", NONE),
    ({"HTTP_PROXY": P, "NO_PROXY": "::1"}, "http://[::1]:80/execution/", NONE),
    ({"HTTP_PROXY": P, "NO_PROXY": "localhost"}, "http://localhost:80/execution/", NONE),
    ({"HTTP_PROXY": P}, "http://localhost:80/execution/", USED),
    ({"FTP_PROXY": P, "NO_PROXY": "x"}, API, NONE),
]  # fmt: skip


@pytest.fixture
def environment(monkeypatch):
    import os  # noqa: PLC0415

    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)

    def set_all(variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_all


@pytest.mark.parametrize(("variables", "url", "expected"), TABLE)
def test_proxy_is_chosen_as_the_variables_say(environment, variables, url, expected):
    environment(variables)
    assert choose(url) == expected


class _Seen(Exception):
    pass


@pytest.mark.parametrize(("variables", "url", "expected"), TABLE)
def test_request_of_httpx_goes_where_the_choice_says(
    environment, monkeypatch, variables, url, expected
):
    """The host and port to which a request of a whole client is connected."""
    environment(variables)
    if expected.refusal:
        return
    seen = []

    def connect(address, *_, **__):
        seen.append(address[:2])
        raise OSError("seen")

    monkeypatch.setattr("socket.create_connection", connect)
    with httpx.Client() as client, pytest.raises(httpx.ConnectError):
        client.get(url)
    target = httpx.URL(expected.url or url)
    port = target.port or {"http": 80, "https": 443}[target.scheme]
    assert seen == [(target.host, port)]


def test_httpx_with_another_inside_is_left_to_airflow(environment, monkeypatch):
    environment({"HTTP_PROXY": P})
    monkeypatch.setattr(httpx.Client, "_transport_for_url", None)
    assert choose(API) == REFUSED


def test_without_variables_httpx_is_not_asked(environment, monkeypatch):
    monkeypatch.setattr(api_proxy, "_of_httpx", lambda url: pytest.fail("asked"))
    assert choose(API) == NONE


def test_asked_is_the_library_that_airflows_client_sends_with():
    from airflow.sdk.api.client import Client

    assert issubclass(Client, httpx.Client)
