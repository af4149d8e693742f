# SPDX-License-Identifier: Apache-2.0
"""ZkExecutor: what becomes of events; callbacks, revoking, adopting."""

from __future__ import annotations

import pytest
from airflow.utils.state import CallbackState, TaskInstanceState
from sqlalchemy.exc import OperationalError

from fake_core import Event
from workloads import Driver, OrphanedTask, callback, connection_test, task

FAILURES = [
    "failed",
    "lost",
    "gone",
    "rejected",
    "killed",
    "an-outcome-of-a-newer-core",
]


# Results of tasks


def test_success_is_reported(driver: Driver):
    workload = task()
    driver.place(workload)
    driver.report("d1", "success")
    assert driver.events() == {driver.key(workload): (TaskInstanceState.SUCCESS, None)}
    assert driver.executor.running == set()
    assert len(driver.executor._dispatches) == 0
    assert driver.session.arguments("revoke") == []


@pytest.mark.parametrize("outcome", FAILURES)
def test_failure_is_reported_with_its_reason(driver: Driver, outcome):
    workload = task()
    driver.place(workload)
    driver.report("d1", outcome, "because")
    assert driver.events() == {driver.key(workload): (TaskInstanceState.FAILED, "because")}
    assert driver.executor.running == set()
    assert driver.session.arguments("revoke") == []


@pytest.mark.parametrize("outcome", FAILURES)
def test_failure_without_a_reason_names_the_outcome(driver: Driver, outcome):
    workload = task()
    driver.place(workload)
    driver.report("d1", outcome)
    assert outcome in driver.events()[driver.key(workload)][1]


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
        assert driver.executor.running == {driver.key(workload)}
        assert driver.events() == {}
    driver.report("d1", "token", "403")
    assert len(driver.session.placed) == 4
    assert driver.events() == {driver.key(workload): (TaskInstanceState.FAILED, "403")}


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
    assert driver.executor.running == {driver.key(resumed)}
    driver.report("d2", "success")
    assert driver.events() == {driver.key(resumed): (TaskInstanceState.SUCCESS, None)}
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
    assert driver.events() == {driver.key(workload): (TaskInstanceState.SUCCESS, None)}


def test_one_event_that_cannot_be_applied_does_not_stop_the_others(driver: Driver):
    good = task("good", dispatch="d2")
    driver.place(task("bad", dispatch="d1"), good)
    driver.executor._dispatches.current("d1").key = []  # cannot be hashed
    driver.session.events = [Event("d1", "failed"), Event("d2", "success")]
    driver.executor.sync()
    assert driver.events() == {driver.key(good): (TaskInstanceState.SUCCESS, None)}


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
    assert driver.waiting == 0
    driver.report(workload.callback.id, "success")
    assert driver.events() == {driver.key(workload): (CallbackState.SUCCESS, None)}


@pytest.mark.parametrize("outcome", [*FAILURES, "already_running", "stale"])
def test_callback_that_did_not_succeed_is_reported_failed(driver: Driver, outcome):
    workload = callback()
    driver.place(workload)
    driver.report(workload.callback.id, outcome, "because")
    assert driver.events() == {driver.key(workload): (CallbackState.FAILED, "because")}
    assert driver.logged() == []


def test_connection_test_is_placed_and_frees_its_slot(driver: Driver):
    workload = connection_test()
    driver.place(workload)
    (placement,) = driver.session.placed
    assert (placement.kind, placement.queue) == ("connection_test", "default")
    assert placement.dispatch_id == str(workload.connection_test_id)
    assert driver.waiting == 0
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
    assert driver.waiting == 0
    driver.executor.heartbeat()
    assert driver.session.placed == []


def test_task_that_the_scheduler_fails_is_ended(driver: Driver):
    # Airflow heard no heartbeat of it: fail() comes from outside.
    workload = task()
    driver.place(workload)
    driver.executor.fail(driver.key(workload))
    assert driver.session.arguments("revoke") == ["d1"]
    assert driver.events() == {driver.key(workload): (TaskInstanceState.FAILED, None)}
    driver.report("d1", "failed")
    assert driver.events() == {}


# Adopting


def test_adoption_takes_all_that_were_dispatched_and_returns_the_others(driver: Driver):
    ours, never = OrphanedTask("t1", "d1", "heavy"), OrphanedTask("t2", None)
    assert driver.executor.try_adopt_task_instances([ours, never]) == [never]
    assert driver.session.arguments("adopt") == [([("d1", "heavy")], ["job-7-"])]
    assert driver.executor.running == {driver.key(ours)}
    driver.report("d1", "gone", "unknown to ZooKeeper")
    assert driver.events() == {driver.key(ours): (TaskInstanceState.FAILED, "unknown to ZooKeeper")}


def test_adoption_repeated_tells_the_core_once(driver: Driver):
    ours = OrphanedTask("t1", "d1")
    for _ in range(2):
        assert driver.executor.try_adopt_task_instances([ours]) == []
    assert driver.session.arguments("adopt") == [([("d1", "default")], ["job-7-"])]


def test_adoption_is_handed_over_later_when_the_session_raises(driver: Driver):
    driver.session.broken = {"adopt"}
    ours = OrphanedTask("t1", "d1")
    assert driver.executor.try_adopt_task_instances([ours]) == []
    driver.session.broken = set()
    driver.executor.heartbeat()
    driver.executor.heartbeat()
    assert driver.session.arguments("adopt") == [([("d1", "default")], ["job-7-"])] * 2


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
