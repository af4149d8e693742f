# SPDX-License-Identifier: Apache-2.0
"""
Through which proxy Airflow's client of the Execution API goes: a part of the handshake.

The decision is httpx's own, asked for the one URL that matters: the variables ``HTTP_PROXY``,
``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` in both cases, with all that they may hold. So the
worker has no second reading of them. Airflow 3.4 has httpx under the name httpx2. It has no public
way to ask; where its inside is not as expected, the worker does not guess but leaves tasks to
Airflow's supervisor.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from urllib.request import getproxies

# The reason, as it stands in the metric, why tasks are Airflow's to supervise.
REFUSAL = "proxy"


@dataclass(frozen=True)
class Proxy:
    """
    A proxy that the worker can use as Airflow's client would, or none.

    ``url`` has its port and no credentials. ``refusal`` is not empty if there is a proxy that the
    worker can't use: SOCKS, TLS to the proxy itself, or one that httpx refuses, too.
    """

    url: str = ""
    user: str = ""
    password: str = ""
    refusal: str = ""


def choose(api_url: str) -> Proxy:
    """Return what httpx would do in this environment with requests to that URL."""
    if not any(value for name, value in getproxies().items() if name in ("http", "https", "all")):
        return Proxy()
    try:
        return _of_httpx(api_url)
    except Exception:
        # Perhaps httpx can't make sense of the variables, and then nor can Airflow's client:
        # its supervisor has the words for that.
        return Proxy(refusal=REFUSAL)


def client_library() -> ModuleType:
    """Return the httpx that Airflow's client of the Execution API is written with."""
    from airflow.sdk.api import client

    return getattr(client, "httpx2", None) or client.httpx


def _of_httpx(api_url: str) -> Proxy:
    import ssl

    httpx = client_library()
    # A context of our own, as httpx would read the certificates of all authorities, for nothing.
    with httpx.Client(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)) as client:
        transport = client._transport_for_url(httpx.URL(api_url))
        if transport is client._transport:
            return Proxy()
        chosen = [pattern for pattern, one in client._mounts.items() if one is transport]
        proxy = client._get_proxy_map(None, True)[chosen[0].pattern]
    if proxy is None:
        return Proxy()
    if proxy.url.scheme != "http" or not proxy.url.host:
        return Proxy(refusal=REFUSAL)
    user, password = proxy.auth or ("", "")
    host = f"[{proxy.url.host}]" if ":" in proxy.url.host else proxy.url.host
    return Proxy(f"http://{host}:{proxy.url.port or 80}", user, password)
