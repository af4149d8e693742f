# SPDX-License-Identifier: Apache-2.0
"""What the package shows to Airflow: provider info, commands, the bare name, cheap imports."""

from __future__ import annotations

import argparse
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import airflow
import jsonschema
import pytest
from airflow.cli import cli_parser

from zk_executor import bare_name
from zk_executor.cli import commands
from zk_executor.cli.definition import get_zk_cli_commands
from zk_executor.get_provider_info import get_provider_info

PACKAGE = Path(bare_name.__file__).parent


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    groups = parser.add_subparsers()
    for group in get_zk_cli_commands():
        cli_parser._add_command(groups, group)
    return parser.parse_args(["zk", *words])


# Provider info


def test_provider_info_satisfies_airflows_schema():
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_provider_info_names_things_that_exist():
    info = get_provider_info()
    for name in (*info["executors"], *info["cli"]):
        assert callable(pkgutil.resolve_name(name))


def test_every_option_is_described_with_a_text_default_and_secrets_are_sensitive():
    options = get_provider_info()["config"]["zk_executor"]["options"]
    for option in options.values():
        assert option["description"].endswith(".")
        assert isinstance(option["default"], str)
    assert {name for name, option in options.items() if option.get("sensitive")} == {
        "digest_auth",
        "encryption_key",
    }


# Imports


def run_python(code: str, **environment: str) -> str:
    paths = os.pathsep.join([str(PACKAGE.parent), str(Path(__file__).parent)])
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": paths} | environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout.strip()


def test_importing_the_package_and_its_info_does_not_import_airflow():
    code = (
        "import sys, zk_executor, zk_executor.get_provider_info, zk_executor.dispatches, "
        "zk_executor.placing, zk_executor.settings\n"
        "print([m for m in sys.modules if m.split('.')[0] == 'airflow'], zk_executor.__version__)"
    )
    assert run_python(code) == "[] 0.1.0"


def test_defining_the_commands_loads_neither_the_executor_nor_the_core():
    code = (
        "import sys\nfrom zk_executor.cli.definition import get_zk_cli_commands\n"
        "get_zk_cli_commands()\n"
        "print([m for m in ('zk_executor.executor', 'zk_executor._core', "
        "'airflow.executors.base_executor') if m in sys.modules])"
    )
    assert run_python(code) == "[]"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.name)
def test_source_uses_no_pickle(path):
    assert "pickle" not in path.read_text()


# The bare name


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("ZkExecutor", "ZkExecutor:zk_executor.ZkExecutor"),
        ("LocalExecutor,ZkExecutor", "LocalExecutor,ZkExecutor:zk_executor.ZkExecutor"),
        (
            "LocalExecutor, ZkExecutor ",
            "LocalExecutor, ZkExecutor:zk_executor.ZkExecutor ",
        ),
        (
            "LocalExecutor;team1=ZkExecutor",
            "LocalExecutor;team1=ZkExecutor:zk_executor.ZkExecutor",
        ),
        (
            "ZkExecutor;team1=LocalExecutor,ZkExecutor",
            (
                "ZkExecutor:zk_executor.ZkExecutor;"
                "team1=LocalExecutor,ZkExecutor:zk_executor.ZkExecutor"
            ),
        ),
        ("=ZkExecutor", "=ZkExecutor:zk_executor.ZkExecutor"),
        ("X:zk_executor.ZkExecutor", "X:zk_executor.ZkExecutor"),
        ("ZkExecutor:zk_executor.ZkExecutor", "ZkExecutor:zk_executor.ZkExecutor"),
        ("zk_executor.ZkExecutor", "zk_executor.ZkExecutor"),
        ("MyZkExecutor", "MyZkExecutor"),
        ("LocalExecutor", "LocalExecutor"),
        ("", ""),
    ],
)
def test_bare_name_becomes_the_full_one_and_nothing_else_changes(setting, expected):
    assert bare_name.with_full_name(setting) == expected
    assert bare_name.with_full_name(expected) == expected


def test_bare_name_in_the_environment_is_replaced_for_this_process_and_its_children(
    monkeypatch,
):
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "ZkExecutor")
    bare_name.normalize_executor_setting()
    assert os.environ["AIRFLOW__CORE__EXECUTOR"] == "ZkExecutor:zk_executor.ZkExecutor"


def test_environment_is_left_alone_when_the_setting_has_no_bare_name(monkeypatch):
    monkeypatch.delenv("AIRFLOW__CORE__EXECUTOR", raising=False)
    bare_name.normalize_executor_setting()
    assert "AIRFLOW__CORE__EXECUTOR" not in os.environ


def test_commands_are_defined_even_if_the_setting_cannot_be_read(monkeypatch):
    def broken() -> None:
        raise RuntimeError("no configuration")

    monkeypatch.setattr("zk_executor.cli.definition.normalize_executor_setting", broken)
    assert [group.name for group in get_zk_cli_commands()] == ["zk"]


@pytest.fixture
def installed(tmp_path) -> str:
    """PYTHONPATH with the package as pip would have installed it: with its entry points."""
    info = tmp_path / "zk_executor-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: zk-executor\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text(
        "[apache_airflow_provider]\n"
        "provider_info = zk_executor.get_provider_info:get_provider_info\n"
    )
    return os.pathsep.join([str(PACKAGE.parent), str(tmp_path)])


def test_airflow_command_and_its_loader_resolve_the_bare_name(installed, tmp_path):
    # The whole way: entry point, provider, commands, configuration, loader.
    code = (
        "import sys\nfrom airflow.__main__ import main\n"
        "sys.argv = ['airflow', 'config', 'get-value', 'core', 'executor']\nmain()\n"
        "from airflow.executors.executor_loader import ExecutorLoader\n"
        "cls, _ = ExecutorLoader.import_default_executor_cls()\n"
        "print(cls.__module__, cls.__name__, ExecutorLoader.get_default_executor_name().alias)\n"
        "sys.argv = ['airflow', 'config', 'get-value', 'zk_executor', 'hosts']\nmain()\n"
    )
    output = run_python(code, PYTHONPATH=installed, AIRFLOW__CORE__EXECUTOR="ZkExecutor")
    assert output.splitlines()[-3:] == [
        "ZkExecutor:zk_executor.ZkExecutor",
        "zk_executor.executor ZkExecutor ZkExecutor",
        "localhost:2181",
    ]


def test_airflows_loader_resolves_the_path_without_an_alias(installed, tmp_path):
    # The form that the official chart takes as its value `executor`.
    code = (
        "from airflow.executors.executor_loader import ExecutorLoader\n"
        "cls, _ = ExecutorLoader.import_default_executor_cls()\n"
        "print(cls.__module__, cls.__name__, ExecutorLoader.get_default_executor_name().alias)\n"
    )
    output = run_python(
        code, PYTHONPATH=installed, AIRFLOW__CORE__EXECUTOR="zk_executor.ZkExecutor"
    )
    assert output.splitlines()[-1] == "zk_executor.executor ZkExecutor None"


# Commands


def test_worker_becomes_zk_worker_with_this_python_and_the_flags_given(monkeypatch):
    executed = []
    monkeypatch.setattr(commands, "_find_worker", lambda: "/bin/zk-worker")
    monkeypatch.setattr(os, "execv", lambda *args: executed.append(args))
    words = ["--slots", "4", "--queues", "a,b", "--http-port", "0", "--check-config"]
    commands.worker.__wrapped__(parse("worker", *words))
    assert executed == [
        (
            "/bin/zk-worker",
            [
                "/bin/zk-worker",
                "--python",
                sys.executable,
                "--slots=4",
                "--queues=a,b",
                "--http-port=0",
                "--check-config",
            ],
        )
    ]


def test_every_worker_option_is_passed_on(monkeypatch):
    executed = []
    monkeypatch.setattr(commands, "_find_worker", lambda: "/bin/zk-worker")
    monkeypatch.setattr(os, "execv", lambda _, command: executed.extend(command[3:]))
    flags = "slots queues name http-port http-host hosts root team drain-timeout kill-grace"
    words = [f"--{flag}=x" for flag in (*flags.split(), "journal-dir", "log-level")]
    commands.worker.__wrapped__(parse("worker", *words, "--version"))
    assert executed == [*words, "--version"]


def test_worker_says_where_it_looked_when_there_is_no_binary(monkeypatch, capsys):
    monkeypatch.setattr(commands, "_find_worker", lambda: None)
    with pytest.raises(SystemExit) as caught:
        commands.worker.__wrapped__(parse("worker"))
    assert caught.value.code == 1
    assert sys.executable in capsys.readouterr().err


def test_binary_beside_the_interpreter_comes_before_path(monkeypatch, tmp_path):
    beside, on_path = tmp_path / "venv", tmp_path / "bin"
    for directory in (beside, on_path):
        directory.mkdir()
        (directory / "zk-worker").touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(beside / "python"))
    monkeypatch.setenv("PATH", str(on_path))
    assert commands._find_worker() == str(beside / "zk-worker")


def test_workers_are_listed_as_json_for_scripts(core, capsys):
    core.rows = [{"worker": "w1", "queues": ["a", "b"], "slots": 4}]
    commands.workers.__wrapped__(parse("workers", "--output", "json", "--hosts", "zk9"))
    assert json.loads(capsys.readouterr().out) == [
        {"worker": "w1", "queues": ["a", "b"], "slots": "4"}
    ]
    assert core.inspections == [
        {
            "hosts": "zk9:2181",
            "root": "/zk-executor",
            "team": "default",
            "digest_auth": "",
            "timeout_ms": 10_000,
        }
    ]


def test_queues_are_listed_for_people(core, capsys):
    core.rows = [
        {
            "queue": "a",
            "depth": 2,
            "running": 1,
            "oldest_age_seconds": 1.25,
            "workers": 1,
        },
        {
            "queue": "b",
            "depth": 0,
            "running": 0,
            "oldest_age_seconds": None,
            "workers": 0,
        },
    ]
    commands.queues.__wrapped__(parse("queues", "--output", "plain"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        "queue",
        "depth",
        "running",
        "oldest_age_seconds",
        "workers",
    ]
    assert lines[1].split() == ["a", "2", "1", "1.2", "1"]
    assert lines[2].split() == ["b", "0", "0", "-", "0"]


def test_listing_without_zookeeper_says_whom_it_asked_and_what_to_do(core, capsys):
    core.inspect_error = core.ZkError("connection refused")
    with pytest.raises(SystemExit) as caught:
        commands.queues.__wrapped__(parse("queues", "--root", "/x"))
    message = capsys.readouterr().err
    assert caught.value.code == 1
    for text in (
        "connection refused",
        "hosts=localhost:2181",
        "root=/x",
        "airflow config",
    ):
        assert text in message


def test_listing_with_invalid_settings_names_the_option(core, capsys):
    with pytest.raises(SystemExit) as caught:
        commands.queues.__wrapped__(parse("queues", "--root", "x"))
    assert caught.value.code == 2
    assert "[zk_executor] root = 'x'" in capsys.readouterr().err
