# SPDX-License-Identifier: Apache-2.0
"""Settings: what is accepted, and what an error says."""

from __future__ import annotations

import dataclasses
import os

import pytest
from airflow.configuration import AIRFLOW_HOME
from airflow.exceptions import AirflowConfigException
from airflow.executors.base_executor import ExecutorConf

from zk_executor import ZkExecutor
from zk_executor.get_provider_info import DEFAULTS
from zk_executor.settings import (
    InvalidSetting,
    read_executor_settings,
    read_worker_settings,
)

INVALID = [
    ("hosts", ""),
    ("hosts", "zk1:port"),
    ("hosts", "zk1:2181,zk 2"),
    ("hosts", "zk1:70000"),
    ("hosts", "zk1:2181/chroot"),
    ("root", "zk-executor"),
    ("root", "/"),
    ("root", "/zk-executor/"),
    ("root", "/a//b"),
    ("root", "/a/../b"),
    ("root", "/zookeeper"),
    ("digest_auth", "only-a-user"),
    ("digest_auth", ":password"),
    ("session_timeout", "soon"),
    ("session_timeout", "0"),
    ("session_timeout", "nan"),
    ("partitions", "0"),
    ("partitions", "6.5"),
    ("partitions", "100000"),
    ("encryption_key", "short"),
    ("max_workload_bytes", "10"),
    ("max_workload_bytes", "2000000"),
    ("worker_slots", "0"),
    ("worker_slots", "2049"),
    ("worker_slots", "many"),
    ("worker_host", "a b"),
    ("worker_http_port", "65536"),
    ("worker_http_host", "a/b"),
    ("drain_timeout", "-1"),
    ("kill_grace", "-1"),
    ("relist_interval", "0"),
    ("worker_journal_dir", "not/absolute"),
    ("worker_log_level", "loud"),
    ("supervisor", "celery"),
    ("warm", "perhaps"),
    ("warm_memory_mb", "-1"),
    ("warm_idle_children", "1000"),
    ("preload", "numpy,import os"),
]


def read_all(team: str | None = None):
    conf = ExecutorConf(team)
    return read_executor_settings(conf), read_worker_settings(conf)


def option(monkeypatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"AIRFLOW__ZK_EXECUTOR__{name.upper()}", value)


@pytest.mark.parametrize(("name", "value"), INVALID)
def test_invalid_option_names_section_option_value_and_what_is_allowed(monkeypatch, name, value):
    option(monkeypatch, name, value)
    with pytest.raises(InvalidSetting) as caught:
        read_all()
    message = str(caught.value)
    assert f"[zk_executor] {name} = " in message
    secret = name in ("digest_auth", "encryption_key")
    assert repr("***" if secret else value) in message
    assert message.partition(" is invalid: ")[2]
    assert caught.value.option == name


def test_secrets_are_not_shown_by_errors_or_repr(monkeypatch):
    option(monkeypatch, "encryption_key", "sesame")
    with pytest.raises(InvalidSetting) as caught:
        read_all()
    assert "sesame" not in str(caught.value)
    option(monkeypatch, "encryption_key", "open-sesame")
    assert "sesame" not in repr(read_all())


def test_defaults_are_valid():
    executor, worker = read_all()
    assert executor.hosts == "localhost:2181"
    assert executor.session_timeout_ms == 15_000
    assert executor.encryption_secret == b"a-secret-for-tests"
    assert dataclasses.asdict(worker) == {
        "slots": 16,
        "queues": ("default",),
        "host": "",
        "http_port": 8793,
        "http_host": "0.0.0.0",
        "drain_timeout": 600.0,
        "kill_grace": 10.0,
        "relist_interval": 5.0,
        "journal_dir": os.path.join(AIRFLOW_HOME, "zk-worker"),
        "log_level": "info",
        "preload": (),
        "supervisor": "auto",
        "warm": "imports",
        "warm_memory_mb": 1024,
        "warm_idle_children": 1,
    }


def test_every_option_is_tested_for_nonsense_or_is_free_text():
    assert set(DEFAULTS) - {name for name, _ in INVALID} == {"worker_queues"}


def test_values_are_normalized(monkeypatch):
    option(monkeypatch, "hosts", " zk1 , [::1]:2182 ")
    option(monkeypatch, "worker_queues", "a, b,,a")
    option(monkeypatch, "session_timeout", "2.5")
    option(monkeypatch, "worker_log_level", "DEBUG")
    executor, worker = read_all()
    assert executor.hosts == "zk1:2181,[::1]:2182"
    assert executor.session_timeout_ms == 2500
    assert worker.queues == ("a", "b")
    assert worker.log_level == "debug"


def test_encryption_key_comes_before_the_secret_key_of_the_api(monkeypatch):
    option(monkeypatch, "encryption_key", "another-secret")
    assert read_all()[0].encryption_secret == b"another-secret"


def test_short_secret_key_of_the_api_is_named_when_it_is_the_encryption_key(
    monkeypatch,
):
    monkeypatch.setenv("AIRFLOW__API__SECRET_KEY", "short")
    with pytest.raises(InvalidSetting, match=r"\[api\] secret_key .* encryption_key"):
        read_all()


def test_team_has_its_own_options_and_the_common_secret_key(monkeypatch):
    monkeypatch.setenv("AIRFLOW__BLUE___ZK_EXECUTOR__ROOT", "/blue")
    assert read_all("blue")[0].root == "/blue"
    assert read_all("blue")[0].encryption_secret == read_all()[0].encryption_secret
    assert read_all()[0].root == "/zk-executor"


def test_port_of_the_log_server_is_named_when_it_is_the_invalid_one(monkeypatch):
    monkeypatch.setenv("AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT", "x")
    with pytest.raises(InvalidSetting, match=r"\[logging\] worker_log_server_port"):
        read_all()


def test_executor_refuses_to_be_made_with_an_invalid_option(core, monkeypatch):
    option(monkeypatch, "root", "nowhere")
    with pytest.raises(AirflowConfigException, match=r"\[zk_executor\] root = 'nowhere'"):
        ZkExecutor()


def test_executor_does_not_mind_options_of_workers(core, monkeypatch):
    option(monkeypatch, "worker_slots", "many")
    ZkExecutor()


def test_settings_cannot_be_changed():
    for settings in read_all():
        with pytest.raises(dataclasses.FrozenInstanceError):
            settings.root = "/x"
