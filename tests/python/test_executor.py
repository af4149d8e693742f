# SPDX-License-Identifier: Apache-2.0
"""ZkExecutor: starting, placing, ending. Events are in test_executor_events.py."""

from __future__ import annotations

import threading

import pytest
from airflow.executors.workloads import ExecutorWorkload
from airflow.utils.state import TaskInstanceState
from pydantic import TypeAdapter

from fake_core import Event
from workloads import Driver, OrphanedTask, callback, connection_test, task
from zk_executor import ZkExecutor
from zk_executor import executor as executor_module

# Constructing and starting


def test_constructor_makes_no_thread_and_no_session(core):
    threads = threading.active_count()
    executor = ZkExecutor(parallelism=None, team_name="blue")
    assert (threading.active_count(), core.sessions) == (threads, [])
    assert executor.parallelism == 32
    assert ZkExecutor(parallelism=5).parallelism == 5


def test_executor_never_started_answers_the_api_server(core):
    executor = ZkExecutor()
    assert executor.get_task_log(ti=None, try_number=1) == ([], [])
    assert executor.slots_available == 32
    executor.sync()
    executor.debug_dump()
    executor.end()
    assert core.sessions == []


def test_start_gives_the_session_every_option(core, monkeypatch):
    monkeypatch.setenv("AIRFLOW__BLUE___ZK_EXECUTOR__HOSTS", "zk1,zk2:2182")
    executor = ZkExecutor(team_name="blue")
    executor.job_id = 7
    executor.start()
    executor.start()
    (session,) = core.sessions
    scheduler_id = session.options.pop("scheduler_id")
    assert scheduler_id.startswith("job-7-")
    assert session.options == {
        "hosts": "zk1:2181,zk2:2182",
        "root": "/zk-executor",
        "team": "blue",
        "session_timeout_ms": 15000,
        "partitions": 64,
        "encryption_secret": b"a-secret-for-tests",
        "digest_auth": "",
        "max_workload_bytes": 524288,
    }


@pytest.mark.parametrize("digest_auth", ["", "airflow:a-password"])
def test_start_warns_of_an_open_zookeeper_unless_there_is_a_login(
    core, monkeypatch, capsys, digest_auth
):
    monkeypatch.setenv("AIRFLOW__ZK_EXECUTOR__DIGEST_AUTH", digest_auth)
    executor = ZkExecutor()
    executor.job_id = 7
    executor.start()
    output = capsys.readouterr().out
    told = [line for line in output.splitlines() if "ZooKeeper is open" in line]
    assert len(told) == (0 if digest_auth else 1), output
    for word in ("warning", "digest_auth", "kill", "drain", "forge", "localhost:2181"):
        assert all(word in line for line in told)
    assert "a-password" not in output


def test_start_returns_and_is_tried_again_when_the_session_cannot_be_made(core, monkeypatch):
    core.refuse = ValueError("hosts: no")
    driver = Driver(core)
    driver.place(task())
    assert driver.executor.slots_available == 0
    assert driver.waiting == 1
    core.refuse = None
    driver.executor.heartbeat()  # too early
    assert core.sessions == []
    monkeypatch.setattr(executor_module, "_REOPEN_INTERVAL_SECONDS", 0.0)
    driver.executor._reopen_at = 0.0
    driver.executor.heartbeat()
    driver.executor.heartbeat()
    assert [p.dispatch_id for p in driver.session.placed] == ["d1"]


def test_start_returns_when_starting_the_session_raises(core):
    core.broken_from_start = {"start"}
    driver = Driver(core)
    driver.place(task())
    assert driver.session.placed == []


# Placing


def test_task_is_not_placed_when_it_is_queued_but_at_the_heartbeat(driver: Driver):
    driver.queue(task())
    assert driver.session.placed == []
    driver.executor.heartbeat()
    assert len(driver.session.placed) == 1


def test_task_is_placed_with_what_the_core_needs(driver: Driver):
    workload = task(dispatch="d1", queue="heavy", pool_slots=3, priority_weight=9, map_index=4)
    driver.place(workload)
    (placement,) = driver.session.placed
    assert placement.dispatch_id == "d1"
    assert placement.queue == "heavy"
    assert placement.kind == "task"
    assert placement.route_key == "bundle|v1|sub/dag.py"
    assert (placement.slots, placement.priority) == (3, 9)
    assert placement.label == "dag.t1 run 1 4"
    assert driver.executor.running == {driver.key(workload)}
    assert driver.waiting == 0
    assert driver.events() == {}  # neither QUEUED nor RUNNING


def test_placement_carries_plain_json_that_airflow_reads_back(driver: Driver):
    workload = task()
    driver.place(workload)
    read = TypeAdapter(ExecutorWorkload).validate_json(driver.session.placed[0].workload)
    assert read.ti.id == workload.ti.id


def test_token_is_made_anew_for_the_task_when_it_is_placed(driver: Driver, monkeypatch):
    made = []

    class Generator:
        def generate(self, extras, valid_for):
            made.append(extras)
            return "fresh-token"

    monkeypatch.setattr(driver.executor, "jwt_generator", Generator(), raising=False)
    workload = task()
    driver.place(workload)
    assert made == [{"sub": str(workload.ti.id), "scope": "workload"}]
    assert b"fresh-token" in driver.session.placed[0].workload
    assert b"stale-token" not in driver.session.placed[0].workload


def test_task_without_dispatch_id_keeps_the_one_it_was_given(driver: Driver):
    workload = task(dispatch=None)
    driver.session.broken = {"place"}
    driver.place(workload)
    driver.session.broken = set()
    driver.executor.heartbeat()
    first, second = driver.session.placed
    assert first.dispatch_id == second.dispatch_id
    driver.report(first.dispatch_id, "success")
    assert driver.executor.running == set()


def test_a_heartbeat_places_all_in_one_call_callbacks_first_then_by_priority(
    driver: Driver,
):
    low, high = (
        task("low", dispatch="d1"),
        task("high", dispatch="d2", priority_weight=5),
    )
    urgent = callback()
    driver.place(low, high, urgent)
    (batch,) = driver.session.arguments("place")
    assert [p.dispatch_id for p in batch] == [urgent.callback.id, "d2", "d1"]


def test_workloads_stay_queued_when_placing_raises(driver: Driver):
    driver.session.broken = {"place"}
    driver.place(task())
    assert (driver.waiting, driver.executor.running) == (1, set())
    driver.session.broken = set()
    driver.executor.heartbeat()
    assert len(driver.executor.running) == 1


def test_workloads_stay_queued_while_zookeeper_is_away(driver: Driver):
    driver.session.connected = False
    driver.place(task())
    assert driver.session.placed == []
    assert driver.executor.slots_available == 0
    driver.session.connected = True
    driver.executor.heartbeat()
    assert len(driver.session.placed) == 1


def test_one_task_that_cannot_be_prepared_fails_alone(driver: Driver):
    bad, good = task("bad", dispatch="d1"), task("good", dispatch="d2")
    bad.ti.queue = b"heavy"  # the core's Placement refuses it
    driver.place(bad, good)
    assert [p.dispatch_id for p in driver.session.placed] == ["d2"]
    events = driver.events()
    assert events[driver.key(bad)][0] == TaskInstanceState.FAILED
    assert "queue must be str" in events[driver.key(bad)][1]
    assert driver.waiting == 0
    assert driver.executor.running == {driver.key(good)}


@pytest.mark.parametrize(
    ("live_slots", "available"),
    [(1000, 31), (2, 15), (6, 23), (0, 15)],
)
def test_slots_follow_parallelism_and_live_workers(driver: Driver, live_slots, available):
    driver.place(task())
    driver.session.live_slots = live_slots
    assert driver.executor.slots_available == available
    assert driver.executor.slots_occupied == 1


# Ending, and what must never escape


class Unknown:
    """A workload of no type that there is."""

    type = "Unknown"


class Unreadable(OrphanedTask):
    """A task instance of which the database gives no more."""

    @property
    def external_executor_id(self):
        raise RuntimeError("no such column")

    @external_executor_id.setter
    def external_executor_id(self, value):
        pass


def test_end_stops_once_and_leaves_late_events_to_the_adopter(driver: Driver):
    driver.place(task())
    driver.session.events = [Event("d1", "success")]
    driver.executor.end()
    driver.executor.end()
    driver.executor.terminate()
    assert len(driver.session.arguments("stop")) == 1
    assert driver.events() == {}
    assert driver.session.arguments("revoke") == []
    driver.executor.heartbeat()
    assert len(driver.core.sessions) == 1


def test_no_exception_leaves_a_hook_when_the_session_raises_everywhere(driver: Driver):
    placed, waiting = task("t1", dispatch="d1"), task("t2", dispatch="d2")
    driver.place(placed)
    driver.session.broken = {
        "place",
        "adopt",
        "revoke",
        "drain_events",
        "status",
        "stop",
    }
    driver.place(waiting, callback(), connection_test())
    executor = driver.executor
    executor.sync()
    executor.fail(driver.key(placed))
    executor.revoke_task(ti=OrphanedTask("t2", "d2"))
    executor.revoke_task(ti=object())
    executor.fail_connection_test(connection_test().key)
    assert executor.try_adopt_task_instances([OrphanedTask("t3", "d3"), Unreadable("t4", "")]) == []
    executor.queue_workload(Unknown(), session=None)
    executor.debug_dump()
    assert executor.slots_available == 0
    executor.end()


def test_session_sees_only_calls_that_return_at_once_on_the_schedulers_thread(
    driver: Driver,
):
    driver.place(task("t1", dispatch="d1"), callback(), connection_test())
    driver.report("d1", "failed")
    driver.executor.try_adopt_task_instances([OrphanedTask("t3", "d3")])
    driver.executor.revoke_task(ti=OrphanedTask("t3", "d3"))
    driver.executor.debug_dump()
    called = {name for name, _ in driver.session.calls}
    assert called == {"start", "status", "place", "drain_events", "adopt", "revoke"}
    assert driver.session.threads == {threading.get_ident()}


def test_executors_compare_by_identity(core):
    assert len({ZkExecutor(), ZkExecutor()}) == 2
