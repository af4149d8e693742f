# SPDX-License-Identifier: Apache-2.0
"""Which files the worker takes its trust from; whether that is Airflow's is the conformance's."""

from __future__ import annotations

import types

import pytest

from zk_executor.worker import api_trust, supervise_versions


class Options(dict):
    def get(self, section, key, fallback=None):
        return super().get(key, fallback)

    getboolean = get


@pytest.fixture
def system(monkeypatch, tmp_path):
    file = tmp_path / "system.pem"
    file.touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    return {"system_ca_file": str(file), "system_ca_folder": str(tmp_path)}


def on(monkeypatch, dialect):
    version = types.SimpleNamespace(dialect=dialect)
    monkeypatch.setattr(supervise_versions, "installed", lambda: version)


NOBODY = {"system_ca_file": "", "system_ca_folder": ""}


@pytest.mark.parametrize(
    ("dialect", "options", "counts"),
    [
        (supervise_versions.AIRFLOW_3_4 - 1, {}, True),
        (supervise_versions.AIRFLOW_3_4 - 1, {"ssl_ca_file": "/ca.pem"}, False),
        (supervise_versions.AIRFLOW_3_4, {}, True),
        (supervise_versions.AIRFLOW_3_4, {"ssl_ca_file": "/ca.pem"}, True),
        (
            supervise_versions.AIRFLOW_3_4,
            {"ssl_ca_file": "/ca.pem", "client_use_public_certs": False},
            False,
        ),
        (supervise_versions.AIRFLOW_3_4, {"client_use_public_certs": False}, True),
    ],
)
def test_the_systems_authorities_count_as_in_airflows_client(
    monkeypatch, system, dialect, options, counts
):
    on(monkeypatch, dialect)
    told = api_trust.authorities(Options(options))
    assert {name: told[name] for name in system} == (system if counts else NOBODY)
    assert told["ca_file"] == options.get("ssl_ca_file", "")


def test_certifis_authorities_count_only_where_airflows_client_reads_them(monkeypatch, system):
    on(monkeypatch, supervise_versions.AIRFLOW_3_4 - 1)
    assert api_trust.authorities(Options())["public_ca_file"].endswith(".pem")
    assert api_trust.authorities(Options(client_use_public_certs=False))["public_ca_file"] == ""
    on(monkeypatch, supervise_versions.AIRFLOW_3_4)
    assert api_trust.authorities(Options())["public_ca_file"] == ""


def test_where_openssl_knows_no_place_truststores_are_looked_at(monkeypatch, tmp_path):
    truststore = pytest.importorskip("truststore._openssl")
    file = tmp_path / "bundle.pem"
    file.touch()
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    monkeypatch.setenv("SSL_CERT_DIR", "/nowhere")
    monkeypatch.setattr(truststore, "_CA_FILE_CANDIDATES", ["/nowhere", str(file)])
    on(monkeypatch, supervise_versions.AIRFLOW_3_4)
    assert api_trust.authorities(Options())["system_ca_file"] == str(file)
