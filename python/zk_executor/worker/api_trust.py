# SPDX-License-Identifier: Apache-2.0
"""
Whose signature Airflow's client of the Execution API accepts: a part of the handshake.

Of the worker's client, which takes the files that are named here. Which ones count is decided here
because it differs between versions of Airflow, and because Python's OpenSSL may look for the
system's authorities in other places than the worker's.
"""

from __future__ import annotations

import os
import ssl
from typing import Any

from zk_executor.worker import supervise_versions


def authorities(conf: Any) -> dict[str, str]:
    """
    Return a file, a folder or ``""`` for each place of authorities.

    On Airflow 3.3, ``[api] ssl_ca_file`` takes the place of the system's authorities, and
    ``client_use_public_certs`` adds those that come with certifi. On 3.4, the same option adds the
    system's, whatever else is configured.
    """
    own = conf.get("api", "ssl_ca_file", fallback="") or ""
    public = conf.getboolean("api", "client_use_public_certs", fallback=True)
    by_truststore = supervise_versions.installed().dialect >= supervise_versions.AIRFLOW_3_4
    system = ("", "")
    if public and by_truststore:
        system = _as_truststore()
    elif not own:
        system = _as_openssl()
    return {
        "ca_file": own,
        "server_certificate_file": conf.get("api", "ssl_cert", fallback="") or "",
        "public_ca_file": _certifi() if public and not by_truststore else "",
        "system_ca_file": system[0],
        "system_ca_folder": system[1],
    }


def _as_openssl() -> tuple[str, str]:
    """What ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` name, or what Python's OpenSSL was built with."""
    paths = ssl.get_default_verify_paths()
    return paths.cafile or "", paths.capath or ""


def _as_truststore() -> tuple[str, str]:
    """Where truststore looks: as OpenSSL, or where systems have it, if OpenSSL knows no place."""
    file, folder = _as_openssl()
    try:
        from truststore import _openssl

        if file or (folder and _openssl._capath_contains_certs(folder)):
            return file, folder
        return next(filter(os.path.isfile, _openssl._CA_FILE_CANDIDATES), ""), ""
    except (ImportError, AttributeError):  # its inside, which another version may have changed
        return file, folder


def _certifi() -> str:
    try:
        import certifi
    except ImportError:
        return ""
    return certifi.where()
