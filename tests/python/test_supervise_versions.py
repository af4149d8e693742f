# SPDX-License-Identifier: Apache-2.0
"""The table of the versions of Airflow that the native supervisor was verified with."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from airflow import __version__ as airflow_version
from airflow.configuration import conf

from zk_executor import version_compat
from zk_executor.worker import supervise_facts, supervise_versions

HEADER = Path(__file__).resolve().parents[2] / "worker" / "supervise" / "dialect.h"


def test_installed_airflow_is_verified_and_speaks_the_dialect_of_its_minor() -> None:
    installed = supervise_versions.installed()
    assert installed.name == airflow_version
    assert installed.verified
    major, minor, *_ = airflow_version.split(".")
    assert installed.dialect == int(major + minor)


def test_executor_and_supervisor_name_the_same_versions() -> None:
    names = {version.name for version in supervise_versions.VERIFIED.values()}
    assert names == set(version_compat.VERIFIED_VERSIONS)


def test_worker_knows_every_dialect_and_the_same_newest() -> None:
    header = HEADER.read_text()
    numbers = {int(number) for number in re.findall(r"k\d+ = (\d+)", header)}
    assert numbers == {version.dialect for version in supervise_versions.VERIFIED.values()}
    assert f"kNewest = k{supervise_versions.NEWEST}" in header


def test_unknown_schema_is_refused_and_taken_to_speak_like_the_newest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervise_versions, "schema_digest", lambda: "of a later version")
    supervise_versions.installed.cache_clear()
    try:
        facts = supervise_facts.read(conf)
    finally:
        supervise_versions.installed.cache_clear()
    assert facts["refusal"] == "airflow_version"
    assert facts["dialect"] == supervise_versions.NEWEST


def test_facts_name_the_dialect_and_what_it_needs() -> None:
    facts = supervise_facts.read(conf)
    assert facts["refusal"] == ""
    assert facts["dialect"] == supervise_versions.installed().dialect
    assert facts["killed_cleanup_s"] == 60
