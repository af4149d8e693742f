# SPDX-License-Identifier: Apache-2.0
"""Templates: a change of code is seen by the next task, always; and what can have no template."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from supervised import Supervised

DAG = """
import sys
from airflow.sdk import DAG, task
{top}
with DAG("d"):
    @task
    def say():
        {body}
    say()
"""
A_WHILE = 3600  # as the age of a template: longer than a test


def write(path: Path, text: str, *, age_s: float = 10.0) -> None:
    """Write a file as it would have been some time ago: not racing with its first parse."""
    path.write_text(text)
    now = path.stat().st_mtime
    os.utime(path, (now - age_s, now - age_s))


def dag(body: str, top: str = "") -> str:
    return DAG.format(top=top, body=body)


@pytest.fixture
def supervised(tmp_path, folder):
    with Supervised(tmp_path, TEMPLATE_MAX_AGE=A_WHILE) as one:
        yield one


def settle(supervised: Supervised, task: str = "say", runs: int = 4) -> None:
    """Run the task until a template serves it: files that are new may have none at first."""
    for _ in range(runs):
        supervised.run(task)
        if supervised.forked_from()[-1] == "template":
            return
    raise AssertionError(f"no template\n{supervised.said()}")


def test_second_task_of_a_file_is_forked_from_the_parse_of_the_first(supervised):
    write(supervised.dags / "dag.py", dag("print('ran')", top="print('parsed')"))
    settle(supervised)
    ended = supervised.run("say")
    assert ended.outcome == "success"
    assert ended.events.count("parsed") == 1
    assert "ran" in ended.events
    assert any(event.startswith("Filling up the DagBag") for event in ended.events)
    assert supervised.said().count("template ready") == 1


def test_edit_is_seen_by_the_next_task_also_if_size_stays(supervised):
    write(supervised.dags / "dag.py", dag("print('old')"))
    settle(supervised)
    write(supervised.dags / "dag.py", dag("print('new')"), age_s=5)
    events = supervised.run("say").events
    assert "new" in events
    assert "old" not in events


def test_edit_of_an_imported_module_is_seen_by_the_next_task(supervised):
    write(supervised.dags / "helper.py", "WORD = 'old'\n")
    write(supervised.dags / "dag.py", dag("print(helper.WORD)", top="import helper"))
    settle(supervised)
    assert "old" in supervised.run("say").events
    write(supervised.dags / "helper.py", "WORD = 'new'\n", age_s=5)
    assert "new" in supervised.run("say").events


def test_module_that_appears_is_seen_by_the_next_task(supervised):
    top = "try:\n    from extra import WORD\nexcept ImportError:\n    WORD = 'without'"
    write(supervised.dags / "dag.py", dag("print(WORD)", top=top))
    settle(supervised)
    assert "without" in supervised.run("say").events
    write(supervised.dags / "extra.py", "WORD = 'with'\n")
    assert "with" in supervised.run("say").events


def test_deleted_file_fails_as_without_a_template(supervised):
    write(supervised.dags / "dag.py", dag("print('ran')"))
    settle(supervised)
    (supervised.dags / "dag.py").unlink()
    events = supervised.run("say").events
    assert "Dag not found during start up" in events
    assert "ran" not in events


def test_file_that_reads_a_configuration_file_is_parsed_in_each_task(supervised):
    config = supervised.dags / "words.txt"
    write(config, "old")
    top = f"WORD = open({str(config)!r}).read()"
    write(supervised.dags / "dag.py", dag("print(WORD)", top=top))
    for word in ("old", "new"):
        write(config, word)
        assert word in supervised.run("say").events
    assert set(supervised.forked_from()) == {"file"}


def test_file_that_asks_for_a_variable_is_parsed_in_each_task(supervised):
    top = "from airflow.sdk import Variable\nWORD = Variable.get('word', default=None)"
    write(supervised.dags / "dag.py", dag("print('ran')", top=top))
    name = supervised.start("say")
    assert supervised.end_of(name).outcome == "success"
    assert any("/variables/word" in request.path for request in supervised.requests(name))
    assert supervised.forked_from() == ["request"]


@pytest.mark.parametrize(
    ("top", "reason"),
    [
        (
            "from airflow.sdk import get_parsing_context\nget_parsing_context().dag_id",
            "parsing_context",
        ),
        ("import subprocess\nsubprocess.run(['true'])", "process"),
        ("import socket\nsocket.getaddrinfo('localhost', 80)", "network"),
        ("import os\nos.listdir('/tmp')", "folder"),
        (
            "import threading as t\nt.Thread(target=t.Event().wait, daemon=True).start()",
            "threads",
        ),
        ("import nothing_of_this_name", "import_error"),
    ],
)
def test_parse_that_does_more_than_read_code_has_no_template(supervised, top, reason):
    write(supervised.dags / "dag.py", dag("print('ran')", top=top))
    supervised.run("say")
    supervised.run("say")
    assert supervised.forked_from() == [reason, reason]
    assert "template ready" not in supervised.said()


def test_old_template_is_replaced_though_nothing_changed(tmp_path, folder):
    with Supervised(tmp_path, TEMPLATE_MAX_AGE="0.001") as supervised:
        write(supervised.dags / "dag.py", dag("print('ran')"))
        settle(supervised)
        for _ in range(2):
            assert supervised.run("say").outcome == "success"
        assert supervised.said().count("template ready") >= 3


def test_module_that_tasks_import_is_there_in_the_next_template(tmp_path, folder):
    with Supervised(tmp_path, TEMPLATE_MAX_AGE="0.001") as supervised:
        body = "print('there' if 'chunk' in sys.modules else 'not there'); import chunk"
        write(supervised.dags / "dag.py", dag(body))
        seen = []
        for _ in range(6):
            seen += [e for e in supervised.run("say").events if e.endswith("there")]
        assert seen[0] == "not there"
        assert seen[-1] == "there"


def test_without_templates_every_task_parses_its_file(tmp_path, folder):
    with Supervised(tmp_path, TEMPLATES=False) as supervised:
        write(supervised.dags / "dag.py", dag("print('ran')", top="print('parsed')"))
        for _ in range(2):
            assert supervised.run("say").events.count("parsed") == 1
        assert supervised.forked_from() == ["off", "off"]


def test_new_bundle_version_is_seen_by_the_next_task(tmp_path, folder):
    module = tmp_path / "config" / "versioned.py"
    module.parent.mkdir()
    module.write_text(
        "from pathlib import Path\n"
        "from airflow.dag_processing.bundles.base import BaseDagBundle\n"
        "class Versioned(BaseDagBundle):\n"
        "    supports_versioning = True\n"
        "    def initialize(self): super().initialize()\n"
        "    def get_current_version(self): return 'v1'\n"
        "    def refresh(self): pass\n"
        "    @property\n"
        f"    def path(self): return Path({str(tmp_path)!r}) / (self.version or 'v1')\n"
    )
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
        write(tmp_path / version / "dag.py", dag(f"print('{version}')"))
    bundles = '[{"name": "b", "classpath": "versioned.Versioned", "kwargs": {}}]'
    options = {
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": bundles,
        "AIRFLOW__CORE__PLUGINS_FOLDER": tmp_path / "plugins",
    }
    with Supervised(tmp_path, TEMPLATE_MAX_AGE=A_WHILE, **options) as supervised:
        for version in ("v1", "v2", "v1", "v2"):
            info = {"name": "b", "version": version}
            ended = supervised.run("say", bundle_info=info)
            assert version in ended.events, supervised.said()
        assert supervised.forked_from()[-1] == "template"


def test_dead_template_takes_its_task_along_and_is_replaced(supervised):
    body = "print('waits'); import threading; threading.Event().wait()"
    write(supervised.dags / "dag.py", dag(body))
    name = supervised.start("say")
    supervised.wait_for_event(name, "waits")
    second = supervised.start("say")
    supervised.wait_for_event(second, "waits")
    line = next(line for line in supervised.said().splitlines() if "template ready" in line)
    pid = int(line.partition("pid=")[2].split()[0])
    os.kill(pid, signal.SIGKILL)
    assert supervised.end_of(second).outcome == "failed"
    write(supervised.dags / "dag.py", dag("print('again')"), age_s=5)
    assert "again" in supervised.run("say").events
    supervised.say({"kill": name, "signal": "kill"})
    supervised.end_of(name)
