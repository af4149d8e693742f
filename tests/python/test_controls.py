# SPDX-License-Identifier: Apache-2.0
"""The commands that change what workers do: whom they mean, what they ask, what they tell."""

from __future__ import annotations

import argparse
import json
from typing import Any

import pytest
from airflow.cli import cli_parser
from airflow.executors.base_executor import ExecutorConf

from workloads import task
from zk_executor.cli import commands, controls
from zk_executor.cli.definition import get_zk_cli_commands
from zk_executor.get_provider_info import WORKER_SLOTS_MAX
from zk_executor.placing import new_dispatch, placement_arguments, task_label_around_try
from zk_executor.settings import InvalidSetting, read_worker_settings

FLEET = [
    {"worker": "heavy-1-aaaaaaaa", "host": "host-a"},
    {"worker": "heavy-10-bbbbbbbb", "host": "host-b"},
    {"worker": "light-cccccccc", "host": "host-c"},
    {"worker": "light-dddddddd", "host": "host-c"},
    {"worker": "other-eeeeeeee", "host": "host-d"},
]


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    groups = parser.add_subparsers()
    for group in get_zk_cli_commands():
        cli_parser._add_command(groups, group)
    return parser.parse_args(["zk", *words])


def outcome(worker: str = "other-eeeeeeee", **fields: Any) -> dict[str, Any]:
    row = {"worker": worker, "state": "active", "slots": 4, "queues": ["default"], "comment": ""}
    return row | {"problem": ""} | fields


def fails(code: int, function: Any, *words: str) -> None:
    with pytest.raises(SystemExit) as caught:
        function.__wrapped__(parse(*words))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("text", "worker"),
    [
        ("light-cccccccc", "light-cccccccc"),
        ("light-c", "light-cccccccc"),
        ("heavy-1", "heavy-1-aaaaaaaa"),
        ("heavy-10", "heavy-10-bbbbbbbb"),
        ("host-a", "heavy-1-aaaaaaaa"),
        ("o", "other-eeeeeeee"),
    ],
)
def test_worker_is_meant_by_name_by_its_beginning_or_by_host(text, worker):
    assert controls.choose_worker(FLEET, text) == worker


@pytest.mark.parametrize(
    ("text", "several"),
    [("light", "light-"), ("host-c", "light-"), ("l", "light-"), ("heavy-", "heavy-")],
)
def test_ambiguous_worker_is_an_error_that_lists_the_candidates(text, several):
    with pytest.raises(controls.NoSuchWorker) as caught:
        controls.choose_worker(FLEET, text)
    assert str(caught.value).count(f"\n  {several}") == 2
    assert "other" not in str(caught.value)


def test_unknown_worker_is_an_error_that_lists_all_or_says_that_there_is_none():
    with pytest.raises(controls.NoSuchWorker) as caught:
        controls.choose_worker(FLEET, "nobody")
    assert all(row["worker"] in str(caught.value) for row in FLEET)
    with pytest.raises(controls.NoSuchWorker, match="no live worker"):
        controls.choose_worker([], "nobody")


def test_drain_tells_in_one_line_what_is_true(core, capsys):
    core.rows = FLEET
    core.outcome = [outcome(state="draining", comment="disk", queues=["a", "b"])]
    controls.drain.__wrapped__(parse("drain", "other", "--comment", "disk", "--timeout", "2.5"))
    (order,) = core.orders
    assert (order["verb"], order["comment"], order["timeout_ms"]) == ("drain", "disk", 2500)
    assert order["workers"] == ["other-eeeeeeee"]
    assert "@" in order["by"]
    assert capsys.readouterr().out == "other-eeeeeeee is draining (disk), 4 slots, queues a,b.\n"


def test_maintenance_of_all_goes_to_every_worker_and_needs_a_comment(core, capsys):
    core.rows = FLEET
    core.outcome = [outcome(row["worker"], state="maintenance") for row in FLEET]
    controls.maintenance.__wrapped__(parse("maintenance", "--all", "--comment", "upgrade"))
    assert core.orders[0]["workers"] == [row["worker"] for row in FLEET]
    assert len(capsys.readouterr().out.splitlines()) == len(FLEET)
    with pytest.raises(SystemExit) as caught:
        parse("maintenance", "--all")
    assert caught.value.code == 2


def test_one_worker_that_does_not_obey_makes_the_exit_code_1(core, capsys):
    core.rows = FLEET
    core.outcome = [outcome(), outcome("light-cccccccc", problem="it did not obey within 10 s")]
    fails(1, controls.resume, "resume", "--all")
    printed = capsys.readouterr()
    assert printed.out == "other-eeeeeeee is active, 4 slots, queues default.\n"
    assert printed.err == "light-cccccccc: it did not obey within 10 s\n"


def test_resume_of_a_worker_that_stays_drained_says_so(core, capsys):
    core.rows = FLEET
    core.outcome = [outcome(state="draining")]
    fails(1, controls.resume, "resume", "other")
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "is draining" in printed.err
    assert "SIGTERM" in printed.err


def test_concurrency_sends_the_number_and_checks_it(core, capsys):
    core.rows = FLEET
    core.outcome = [outcome(slots=32)]
    controls.concurrency.__wrapped__(parse("concurrency", "other", "32"))
    assert core.orders[0]["slots"] == 32
    assert "32 slots" in capsys.readouterr().out
    core.outcome = [outcome(slots=16)]
    fails(1, controls.concurrency, "concurrency", "other", "32")


def test_concurrency_takes_the_slots_that_the_start_takes(core, monkeypatch, capsys):
    for slots in (1, WORKER_SLOTS_MAX):
        assert parse("concurrency", "other", str(slots)).slots == slots
        monkeypatch.setenv("AIRFLOW__ZK_EXECUTOR__WORKER_SLOTS", str(slots))
        assert read_worker_settings(ExecutorConf(None)).slots == slots
    for slots in (0, WORKER_SLOTS_MAX + 1):
        with pytest.raises(SystemExit):
            parse("concurrency", "other", str(slots))
        assert f"from 1 to {WORKER_SLOTS_MAX}" in capsys.readouterr().err
        monkeypatch.setenv("AIRFLOW__ZK_EXECUTOR__WORKER_SLOTS", str(slots))
        with pytest.raises(InvalidSetting, match=f"from 1 to {WORKER_SLOTS_MAX}"):
            read_worker_settings(ExecutorConf(None))


def test_queues_add_and_remove_send_the_names_and_tell_if_none_is_left(core, capsys):
    core.rows = FLEET
    core.outcome = [outcome(queues=["default", "a", "b"])]
    args = parse("queues", "add", "other", "a, b,a")
    assert args.func is not parse("queues").func
    controls.queues_add.__wrapped__(args)
    assert (core.orders[0]["verb"], core.orders[0]["queues"]) == ("queues_add", ["a", "b"])
    fails(1, controls.queues_remove, "queues", "remove", "other", "a")
    core.outcome = [outcome(queues=[])]
    controls.queues_remove.__wrapped__(parse("queues", "remove", "other", "a,b,default"))
    assert "no queue: it takes nothing" in capsys.readouterr().out


def test_queues_alone_is_still_a_listing(core, capsys):
    core.rows = [{"queue": "a", "depth": 2, "running": 1, "oldest_age_seconds": 1.25, "workers": 1}]
    commands.queues.__wrapped__(parse("queues", "--output", "plain"))
    assert capsys.readouterr().out.splitlines()[1].split() == ["a", "2", "1", "1.2", "1"]


def test_output_as_json_has_a_row_for_each_worker_also_if_one_failed(core, capsys):
    core.rows = FLEET
    core.outcome = [outcome(), outcome("light-cccccccc", problem="no")]
    fails(1, controls.resume, "resume", "--all", "--output", "json")
    rows = json.loads(capsys.readouterr().out)
    assert [(row["worker"], row["problem"]) for row in rows] == [
        ("other-eeeeeeee", ""),
        ("light-cccccccc", "no"),
    ]


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("drain", ["drain"]),
        ("drain", ["drain", "other", "--all"]),
        ("drain", ["drain", "other", "--comment", "two\nlines"]),
        ("drain", ["drain", "other", "--comment", "x" * 1001]),
        ("queues_add", ["queues", "add", "other", " , "]),
        ("queues_add", ["queues", "add", "other", "x" * 257]),
        ("kill", ["kill"]),
        ("kill", ["kill", "d1", "--ti", "dag", "task", "run"]),
        ("kill", ["kill", "dag/task"]),
    ],
)
def test_wrong_usage_is_exit_code_2_and_asks_nobody(core, function, words):
    fails(2, getattr(controls, function), *words)
    assert core.orders == core.inspections == []


@pytest.mark.parametrize(
    "words",
    [
        ["concurrency", "other"],
        ["concurrency", "other", "0"],
        ["concurrency", "other", "2049"],
        ["concurrency", "other", "٣٢"],
        ["concurrency", "other", "many"],
        ["queues", "add", "other"],
        ["queues", "change", "other", "a"],
        ["drain", "other", "--timeout", "0"],
        ["drain", "other", "--timeout", "nan"],
        ["kill", "--ti", "dag", "task"],
    ],
)
def test_wrong_usage_that_the_parser_sees_is_exit_code_2(words, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(*words)
    assert caught.value.code == 2


def test_kill_of_a_task_instance_finds_it_by_its_label_whatever_the_try(core, capsys):
    workload = task("t1", map_index=3, try_number=12)
    label = placement_arguments(new_dispatch(workload, workload.key, "default"))["label"]
    core.outcome = (
        "ended",
        [{"dispatch_id": "d1", "label": label, "queue": "default", "worker": "w1"}],
    )
    controls.kill.__wrapped__(parse("kill", "--ti", "dag", "t1", "run", "--map-index", "3"))
    (order,) = core.orders
    assert label == f"{order['label_head']}12{order['label_tail']}"
    assert (order["label_head"], order["label_tail"]) == task_label_around_try(
        "dag", "t1", "run", 3
    )
    assert order["timeout_ms"] == 30_000
    assert capsys.readouterr().out == f"d1 ({label}) has ended on w1.\n"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("asked", "still runs after 1 s"),
        ("worker_gone", "there is nothing to kill"),
        ("queued", "it is queued in default. Nothing was done"),
        ("ambiguous", "several match: d1 (a label)"),
        ("unknown", "is not running, and not queued"),
    ],
)
def test_kill_that_did_not_happen_says_why_with_exit_code_1(core, capsys, kind, text):
    row = {"dispatch_id": "d1", "label": "a label", "queue": "default", "worker": "w1"}
    core.outcome = (kind, [] if kind == "unknown" else [row])
    fails(1, controls.kill, "kill", "d1", "--timeout", "1")
    printed = capsys.readouterr()
    assert text in printed.err
    assert "d1" in printed.err
    assert printed.out == ""


def test_comment_of_a_worker_is_shown_as_it_is(core, capsys):
    core.rows = [{"worker": "w1", "queues": ["a"], "comment": "[/red] a [bold]disk"}]
    commands.workers.__wrapped__(parse("workers"))
    assert "[/red] a [bold]disk" in capsys.readouterr().out
