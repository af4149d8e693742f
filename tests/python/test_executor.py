# SPDX-License-Identifier: Apache-2.0
"""ZkExecutor: placing, results, revoking, adopting."""

from __future__ import annotations

import threading

import pytest
from airflow.executors.workloads import ExecutorWorkload
from airflow.utils.state import CallbackState, TaskInstanceState
from pydantic import TypeAdapter
from sqlalchemy.exc import OperationalError

from fake_core import Event
from workloads import Driver, OrphanedTask, callback, connection_test, task
from zk_executor import ZkExecutor
from zk_executor import executor as executor_module

FAILURES = [
    "failed",
    "lost",
    "gone",
    "rejected",
    "killed",
    "an-outcome-of-a-newer-core",
]


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


def test_start_returns_and_is_tried_again_when_the_session_cannot_be_made(core, monkeypatch):
    core.refuse = ValueError("hosts: no")
    driver = Driver(core)
    driver.place(task())
    assert driver.executor.slots_available == 0
    assert len(driver.executor.queued_tasks) == 1
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
    assert driver.executor.running == {workload.key}
    assert driver.executor.queued_tasks == {}
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
    assert (len(driver.executor.queued_tasks), driver.executor.running) == (1, set())
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
    assert events[bad.key][0] == TaskInstanceState.FAILED
    assert "queue must be str" in events[bad.key][1]
    assert driver.executor.queued_tasks == {}
    assert driver.executor.running == {good.key}


@pytest.mark.parametrize(
    ("live_slots", "available"),
    [(1000, 31), (2, 15), (6, 23), (0, 15)],
)
def test_slots_follow_parallelism_and_live_workers(driver: Driver, live_slots, available):
    driver.place(task())
    driver.session.live_slots = live_slots
    assert driver.executor.slots_available == available
    assert driver.executor.slots_occupied == 1


# Results of tasks


def test_success_is_reported(driver: Driver):
    workload = task()
    driver.place(workload)
    driver.report("d1", "success")
    assert driver.events() == {workload.key: (TaskInstanceState.SUCCESS, None)}
    assert driver.executor.running == set()
    assert len(driver.executor._dispatches) == 0
    assert driver.session.arguments("revoke") == []


@pytest.mark.parametrize("outcome", FAILURES)
def test_failure_is_reported_with_its_reason(driver: Driver, outcome):
    workload = task()
    driver.place(workload)
    driver.report("d1", outcome, "because")
    assert driver.events() == {workload.key: (TaskInstanceState.FAILED, "because")}
    assert driver.executor.running == set()
    assert driver.session.arguments("revoke") == []


@pytest.mark.parametrize("outcome", FAILURES)
def test_failure_without_a_reason_names_the_outcome(driver: Driver, outcome):
    workload = task()
    driver.place(workload)
    driver.report("d1", outcome)
    assert outcome in driver.events()[workload.key][1]


@pytest.mark.parametrize("outcome", ["rejected", "lost", "gone"])
def test_failure_that_no_task_log_shows_is_written_to_the_event_log(driver: Driver, outcome):
    driver.place(task())
    driver.report("d1", outcome, "600000 bytes, limit 524288")
    assert driver.logged() == [(f"zk_executor {outcome}", "600000 bytes, limit 524288")]


@pytest.mark.parametrize("outcome", ["success", "failed", "already_running", "stale"])
def test_event_log_stays_empty_for_other_outcomes(driver: Driver, outcome):
    driver.place(task())
    driver.report("d1", outcome, "x")
    assert driver.logged() == []


@pytest.mark.parametrize("outcome", ["already_running", "stale"])
def test_refused_start_frees_the_slot_and_reports_nothing(driver: Driver, outcome):
    driver.place(task())
    driver.report("d1", outcome, "409")
    assert driver.events() == {}
    assert driver.executor.running == set()
    assert len(driver.executor._dispatches) == 0


def test_expired_token_places_again_three_times_then_fails(driver: Driver):
    workload = task()
    driver.place(workload)
    for attempt in (1, 2, 3):
        driver.report("d1", "token", "403")
        assert len(driver.session.placed) == 1 + attempt
        assert driver.session.placed[-1].dispatch_id == "d1"
        assert driver.executor.running == {workload.key}
        assert driver.events() == {}
    driver.report("d1", "token", "403")
    assert len(driver.session.placed) == 4
    assert driver.events() == {workload.key: (TaskInstanceState.FAILED, "403")}


def test_placing_again_is_repeated_when_it_raises(driver: Driver):
    driver.place(task())
    driver.session.broken = {"place"}
    driver.report("d1", "token")
    driver.session.broken = set()
    driver.executor.heartbeat()
    assert len(driver.session.placed) == 3  # first, refused, repeated
    driver.executor.heartbeat()
    assert len(driver.session.placed) == 3


def test_task_revoked_while_it_waits_for_a_fresh_token_is_not_placed_again(
    driver: Driver,
):
    driver.place(task())
    driver.session.broken = {"place"}
    driver.report("d1", "token")
    driver.session.broken = set()
    driver.executor.revoke_task(ti=OrphanedTask("t1", "d1"))
    driver.executor.heartbeat()
    assert len(driver.session.placed) == 2


def test_event_of_an_unknown_dispatch_is_ignored(driver: Driver):
    driver.report("never-heard-of", "failed")
    assert driver.events() == {}


def test_late_event_of_an_earlier_dispatch_does_not_fail_the_new_run(driver: Driver):
    # Deferred and resumed: the same key, dispatched anew before the first result arrives.
    driver.place(task(dispatch="d1"))
    resumed = task(dispatch="d2")
    driver.place(resumed)
    driver.report("d1", "failed", "late")
    assert driver.events() == {}
    assert driver.executor.running == {resumed.key}
    driver.report("d2", "success")
    assert driver.events() == {resumed.key: (TaskInstanceState.SUCCESS, None)}
    assert driver.executor.running == set()


def test_event_is_dropped_when_its_key_is_queued_again_but_not_placed(driver: Driver):
    driver.place(task(dispatch="d1"))
    driver.session.connected = False
    resumed = task(dispatch="d2")
    driver.queue(resumed)
    driver.report("d1", "failed", "late")
    assert driver.events() == {}
    assert driver.executor.running == set()
    driver.session.connected = True
    driver.executor.heartbeat()
    assert driver.session.placed[-1].dispatch_id == "d2"


def test_event_reported_twice_counts_once(driver: Driver):
    workload = task()
    driver.place(workload)
    driver.session.events = [Event("d1", "success"), Event("d1", "failed", "again")]
    driver.executor.sync()
    assert driver.events() == {workload.key: (TaskInstanceState.SUCCESS, None)}


def test_one_event_that_cannot_be_applied_does_not_stop_the_others(driver: Driver):
    good = task("good", dispatch="d2")
    driver.place(task("bad", dispatch="d1"), good)
    driver.executor._dispatches.current("d1").key = []  # cannot be hashed
    driver.session.events = [Event("d1", "failed"), Event("d2", "success")]
    driver.executor.sync()
    assert driver.events() == {good.key: (TaskInstanceState.SUCCESS, None)}


def test_sync_makes_the_same_calls_however_many_are_out(driver: Driver):
    driver.executor.parallelism = 10_000
    driver.place(*(task(f"t{n}", dispatch=f"d{n}") for n in range(500)))
    driver.session.calls.clear()
    driver.executor.sync()
    assert driver.session.calls == [("drain_events", None)]


# Callbacks and connection tests


def test_callback_is_placed_and_its_success_reported(driver: Driver):
    workload = callback(queue="urgent")
    driver.place(workload)
    (placement,) = driver.session.placed
    assert (placement.kind, placement.dispatch_id) == ("callback", workload.callback.id)
    assert placement.queue == "urgent"
    assert placement.priority > 10**6
    assert driver.executor.queued_callbacks == {}
    driver.report(workload.callback.id, "success")
    assert driver.events() == {workload.key: (CallbackState.SUCCESS, None)}


@pytest.mark.parametrize("outcome", [*FAILURES, "already_running", "stale"])
def test_callback_that_did_not_succeed_is_reported_failed(driver: Driver, outcome):
    workload = callback()
    driver.place(workload)
    driver.report(workload.callback.id, outcome, "because")
    assert driver.events() == {workload.key: (CallbackState.FAILED, "because")}
    assert driver.logged() == []


def test_connection_test_is_placed_and_frees_its_slot(driver: Driver):
    workload = connection_test()
    driver.place(workload)
    (placement,) = driver.session.placed
    assert (placement.kind, placement.queue) == ("connection_test", "default")
    assert placement.dispatch_id == str(workload.connection_test_id)
    assert driver.executor.queued_connection_tests == {}
    driver.report(placement.dispatch_id, "success")
    assert driver.executor.running == set()


def test_connection_test_that_airflow_gave_up_is_revoked(driver: Driver):
    workload = connection_test()
    driver.place(workload)
    driver.executor.fail_connection_test(workload.key)
    assert driver.session.arguments("revoke") == [str(workload.connection_test_id)]
    assert driver.executor.running == set()
    assert driver.events() == {}


# Revoking


def test_revoked_task_is_forgotten_without_an_event(driver: Driver):
    driver.place(task())
    driver.executor.revoke_task(ti=OrphanedTask("t1", "d1"))
    assert driver.session.arguments("revoke") == ["d1"]
    assert driver.executor.running == set()
    driver.report("d1", "killed")
    assert driver.events() == {}


def test_revoked_task_that_was_never_placed_leaves_the_queue(driver: Driver):
    driver.queue(task())
    driver.executor.revoke_task(ti=OrphanedTask("t1", "d1"))
    assert driver.executor.queued_tasks == {}
    driver.executor.heartbeat()
    assert driver.session.placed == []


def test_task_that_the_scheduler_fails_is_ended(driver: Driver):
    # Airflow heard no heartbeat of it: fail() comes from outside.
    workload = task()
    driver.place(workload)
    driver.executor.fail(workload.key)
    assert driver.session.arguments("revoke") == ["d1"]
    assert driver.events() == {workload.key: (TaskInstanceState.FAILED, None)}
    driver.report("d1", "failed")
    assert driver.events() == {}


# Adopting


def test_adoption_takes_all_that_were_dispatched_and_returns_the_others(driver: Driver):
    ours, never = OrphanedTask("t1", "d1", "heavy"), OrphanedTask("t2", None)
    assert driver.executor.try_adopt_task_instances([ours, never]) == [never]
    assert driver.session.arguments("adopt") == [[("d1", "heavy")]]
    assert driver.executor.running == {ours.key}
    driver.report("d1", "gone", "unknown to ZooKeeper")
    assert driver.events() == {ours.key: (TaskInstanceState.FAILED, "unknown to ZooKeeper")}


def test_adoption_repeated_tells_the_core_once(driver: Driver):
    ours = OrphanedTask("t1", "d1")
    for _ in range(2):
        assert driver.executor.try_adopt_task_instances([ours]) == []
    assert driver.session.arguments("adopt") == [[("d1", "default")]]


def test_adoption_is_handed_over_later_when_the_session_raises(driver: Driver):
    driver.session.broken = {"adopt"}
    ours = OrphanedTask("t1", "d1")
    assert driver.executor.try_adopt_task_instances([ours]) == []
    driver.session.broken = set()
    driver.executor.heartbeat()
    driver.executor.heartbeat()
    assert driver.session.arguments("adopt") == [[("d1", "default")]] * 2


def test_adopted_task_whose_token_expired_spends_no_try(driver: Driver):
    # It never started; Airflow's check for tasks stuck in queued makes a new workload of it.
    driver.executor.try_adopt_task_instances([OrphanedTask("t1", "d1")])
    driver.report("d1", "token")
    assert (driver.events(), driver.executor.running) == ({}, set())


def test_adoption_lets_the_schedulers_own_database_errors_pass(driver: Driver):
    class Locked(OrphanedTask):
        @property
        def key(self):
            raise OperationalError("select", {}, Exception("gone away"))

        @key.setter
        def key(self, value):
            pass

    with pytest.raises(OperationalError):
        driver.executor.try_adopt_task_instances([OrphanedTask("t1", "d1"), Locked("t2", "d2")])
    assert driver.executor.running == set()


# Ending, and what must never escape


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
    executor.fail(placed.key)
    executor.revoke_task(ti=OrphanedTask("t2", "d2"))
    executor.revoke_task(ti=object())
    executor.fail_connection_test(connection_test().key)
    assert executor.try_adopt_task_instances([OrphanedTask("t3", "d3"), object()]) == []
    executor.queue_workload(object(), session=None)
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
