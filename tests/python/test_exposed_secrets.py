# SPDX-License-Identifier: Apache-2.0
"""Secrets that no worker needs: which are found, however Airflow is told of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.configuration import conf

from zk_executor.worker import exposed_secrets


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "")
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "sqlite:////tmp/airflow.db")


def found() -> list[str]:
    return [one["option"] for one in exposed_secrets.find(conf)]


def test_a_worker_with_only_its_own_secrets_exposes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW__API__SECRET_KEY", "a-secret-for-logs")
    monkeypatch.setenv("AIRFLOW__ZK_EXECUTOR__ENCRYPTION_KEY", "a-secret-for-sealing")
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "tasks may need it for what they serialize")
    assert found() == []


@pytest.mark.parametrize(
    ("variable", "value", "option"),
    [
        ("API_AUTH__JWT_SECRET", "signs", "[api_auth] jwt_secret"),
        ("DATABASE__SQL_ALCHEMY_CONN", "postgresql://a:b@c/d", "[database] sql_alchemy_conn"),
        (
            "DATABASE__SQL_ALCHEMY_CONN_ASYNC",
            "postgresql+asyncpg://a:b@c/d",
            "[database] sql_alchemy_conn_async",
        ),
    ],
)
def test_a_secret_in_a_variable_is_found_with_its_risk(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, option: str
) -> None:
    monkeypatch.setenv(f"AIRFLOW__{variable}", value)
    (one,) = exposed_secrets.find(conf)
    assert one["option"] == option
    assert "a task can" in one["risk"]
    assert value not in str(one)


def test_a_secret_behind_a_command_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW__API_AUTH__JWT_SECRET")
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET_CMD", "echo signs")
    assert found() == ["[api_auth] jwt_secret"]


def test_a_command_that_fails_exposes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW__API_AUTH__JWT_SECRET")
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET_CMD", "/no/such/program")
    assert found() == []


def test_a_signing_key_is_found_where_it_can_be_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = tmp_path / "key.pem"
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH", str(key))
    assert found() == []
    key.write_text("a key")
    assert found() == ["[api_auth] jwt_private_key_path"]


@pytest.mark.parametrize("url", ["", "postgresql:///airflow", "postgresql://a@c/d", "no url"])
def test_a_database_without_a_password_exposes_nothing(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", url)
    assert found() == []
