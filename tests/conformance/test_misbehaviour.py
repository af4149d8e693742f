# SPDX-License-Identifier: Apache-2.0
"""Tasks that misbehave: each ends with a reason, the worker stays, other tasks don't notice."""

from __future__ import annotations

import os
import signal

import pytest
from supervised import Supervised

from devstack.processes import is_running

DAG = """
import os, signal, subprocess, sys, threading
from airflow.sdk import DAG, task

def forever():
    threading.Event().wait()

with DAG("d"):
    @task
    def good():
        print("good ran")

    @task
    def garbage():
        os.write(0, b"this is no message, whatever its length says")
        forever()

    @task
    def short_garbage():
        os.write(0, b"\\x00\\x00\\x00\\x05hello")
        forever()

    @task
    def closes_its_channel():
        os.close(0)
        raise SystemExit(3)

    @task
    def leaves_a_daemon():
        daemon = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        with open("%(folder)s/daemon", "w") as file:
            file.write(str(daemon.pid))

    @task
    def prints_much():
        for _ in range(64):
            os.write(1, (b"x" * 99 + b"\\n") * 10_000)

    @task
    def prints_one_line():
        for _ in range(100):
            os.write(1, b"y" * 1_000_000)
        print("after it")

    @task
    def never_ends():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("deaf")
        forever()

    @task
    def dies_at_once():
        os._exit(7)

    @task
    def eats_memory():
        block = bytearray(200_000_000)
        print("full", len(block))
        os.kill(os.getpid(), signal.SIGKILL)

    for one in (good, garbage, short_garbage, closes_its_channel, leaves_a_daemon, prints_much,
                prints_one_line, never_ends, dies_at_once, eats_memory):
        one()
"""


@pytest.fixture(scope="module")
def supervised(tmp_path_factory, folder):
    place = tmp_path_factory.mktemp("misbehaviour")
    with Supervised(place) as one:
        (one.dags / "dag.py").write_text(DAG % {"folder": place})
        yield one


@pytest.fixture(autouse=True)
def others_do_not_notice(supervised):
    yield
    assert "good ran" in supervised.run("good").events


@pytest.mark.parametrize("task", ["garbage", "short_garbage"])
def test_garbage_on_the_channel_ends_the_task_with_the_reason_in_its_log(supervised, task):
    ended = supervised.run(task)
    assert ended.outcome == "failed"
    assert "file descriptor 0" in ended.info
    assert any("file descriptor 0" in event for event in ended.events)


def test_closed_channel_leaves_the_exit_code_as_the_reason(supervised):
    ended = supervised.run("closes_its_channel")
    assert ended.outcome == "failed"
    assert "Process exited abnormally" in ended.events


def test_daemon_that_holds_stdout_delays_the_end_no_longer_than_configured(supervised):
    name = supervised.start("leaves_a_daemon")
    ended = supervised.end_of(name)
    daemon = int((supervised.folder / "daemon").read_text())
    try:
        # It ends when it is told to, so the end of the run came before.
        assert is_running(daemon)
        assert os.readlink(f"/proc/{daemon}/fd/1").startswith(("pipe:", "socket:"))
    finally:
        os.kill(daemon, signal.SIGKILL)
    assert ended.outcome == "success"


def test_flood_on_stdout_is_logged_whole_and_another_task_runs_meanwhile(supervised):
    flood = supervised.start("prints_much")
    assert "good ran" in supervised.run("good").events
    ended = supervised.end_of(flood)
    assert ended.outcome == "success"
    assert ended.events.count("x" * 99) == 640_000


def test_endless_line_is_logged_in_pieces_with_nothing_lost(supervised):
    ended = supervised.run("prints_one_line")
    assert ended.outcome == "success"
    pieces = [event for event in ended.events if set(event) == {"y"}]
    assert sum(map(len, pieces)) == 100_000_000 - sum(
        len(event) - len("after it") for event in ended.events if event.endswith("yafter it")
    )
    assert max(map(len, pieces)) < 9_000_000


def test_task_that_ignores_sigterm_is_killed_at_the_worker_s_word(supervised):
    name = supervised.start("never_ends")
    supervised.wait_for_event(name, "deaf")
    supervised.say({"kill": name, "signal": "term"})
    supervised.say({"kill": name, "signal": "kill"})
    ended = supervised.end_of(name)
    assert ended.outcome == "failed"
    assert "SIGKILL" in ended.info


def test_task_that_dies_without_a_word_has_its_exit_code_in_log_and_report(supervised):
    ended = supervised.run("dies_at_once")
    assert ended.outcome == "failed"
    assert "code 7" in ended.info
    assert any(line.get("exit_code") == 7 for line in ended.log)


def test_task_killed_for_memory_has_its_peak_in_log_and_report(supervised):
    ended = supervised.run("eats_memory")
    assert "probably out of memory" in ended.info
    peak = next(line["peak_memory_mb"] for line in ended.log if "peak_memory_mb" in line)
    assert peak >= 200
