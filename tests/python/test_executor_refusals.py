# SPDX-License-Identifier: Apache-2.0
"""No exception in a hook leaves a workload queued in silence: it fails, and the reason is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from airflow import settings
from airflow.executors.base_executor import BaseExecutor
from airflow.models.connection_test import ConnectionTestRequest, ConnectionTestState
from airflow.utils.session import create_session

from fake_core import Event
from workloads import Driver, OrphanedTask, callback, connection_test, task
from zk_executor import executor as executor_module
from zk_executor.refusals import MAX_PLACE_ATTEMPTS


@pytest.fixture
def database() -> Iterator[None]:
    """The one table of Airflow's that the executor writes to."""
    table = ConnectionTestRequest.__table__
    table.create(settings.engine)
    yield
    table.drop(settings.engine)


def stored_test(state: ConnectionTestState = ConnectionTestState.QUEUED) -> Any:
    """The workload of a connection test that is in the database."""
    workload = connection_test()
    with create_session(scoped=False) as session:
        row = ConnectionTestRequest(connection_id="my_conn", conn_type="http")
        row.id = workload.connection_test_id
        row.state = state
        session.add(row)
    return workload


def stored_state(workload: Any) -> tuple[str, str | None]:
    with create_session(scoped=False) as session:
        row = session.get(ConnectionTestRequest, workload.connection_test_id)
        return str(row.state), row.result_message


def refuses(*_: object, **__: object) -> None:
    raise RuntimeError("no room in the inn")


# Where a workload can be lost on its way into ZooKeeper: what is made to raise.
WAYS = {
    "queued": lambda patch, driver: patch.setattr(BaseExecutor, "queue_workload", refuses),
    "prepared": lambda patch, driver: patch.setattr(executor_module, "new_dispatch", refuses),
    "described": lambda patch, driver: patch.setattr(
        executor_module, "placement_arguments", refuses
    ),
    "given a token": lambda patch, driver: patch.setattr(executor_module, "token_subject", refuses),
    "placed": lambda patch, driver: patch.setattr(driver.session, "place", refuses),
}


def check_told(driver: Driver, workload: Any, text: str = "no room in the inn") -> None:
    """The workload has failed, its reason is where people look for it, and nothing is left."""
    key = driver.key(workload)
    state, info = driver.events()[key]
    assert str(state.value) == "failed"
    assert text in info
    assert driver.waiting == 0
    assert driver.executor.running == set()
    assert len(driver.executor._dispatches) == 0
    if workload.type == "ExecuteTask":
        assert driver.logged() == [("zk_executor not placed", info)]
    if workload.type == "TestConnection":
        assert stored_state(workload) == ("failed", info)


@pytest.mark.parametrize("make", [task, callback, stored_test])
@pytest.mark.parametrize("way", WAYS)
def test_workload_that_cannot_be_handed_over_fails_with_the_reason(
    driver: Driver, database: None, monkeypatch: pytest.MonkeyPatch, make: Any, way: str
) -> None:
    workload = make()
    WAYS[way](monkeypatch, driver)
    driver.queue(workload)
    for _ in range(MAX_PLACE_ATTEMPTS):
        driver.executor.heartbeat()
    check_told(driver, workload)


@pytest.mark.parametrize("make", [task, callback, stored_test])
def test_workload_is_offered_again_before_it_fails_when_the_core_refuses_it(
    driver: Driver, database: None, monkeypatch: pytest.MonkeyPatch, make: Any
) -> None:
    workload = make()
    with monkeypatch.context() as patch:
        patch.setattr(driver.session, "place", refuses)
        driver.queue(workload)
        for _ in range(MAX_PLACE_ATTEMPTS - 1):
            driver.executor.heartbeat()
        assert driver.waiting == 1
        assert driver.events() == {}
    driver.executor.heartbeat()
    assert len(driver.session.placed) == 1
    assert driver.executor._refusals._attempts == {}


def test_only_the_broken_workload_of_a_batch_is_refused(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, broken = task(), callback()
    place, broken_id = driver.session.place, str(broken.callback.id)

    def place_unless_broken(placements: list[Any]) -> None:
        if any(placement.dispatch_id == broken_id for placement in placements):
            refuses()
        place(placements)

    monkeypatch.setattr(driver.session, "place", place_unless_broken)
    driver.queue(broken)
    driver.queue(good)
    for _ in range(MAX_PLACE_ATTEMPTS):
        driver.executor.heartbeat()
    assert [placement.dispatch_id for placement in driver.session.placed] == ["d1"]
    ((key, (state, info)),) = driver.events().items()
    assert key == driver.key(broken)
    assert "no room in the inn" in info
    assert driver.executor.running == {driver.key(good)}


def test_workload_is_not_told_as_failed_before_its_row_can_be_there(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The scheduler has not committed yet, and sets the state after the call.
    monkeypatch.setattr(BaseExecutor, "queue_workload", refuses)
    driver.queue(task())
    assert driver.events() == {}
    driver.executor.heartbeat()
    assert len(driver.events()) == 1


@pytest.mark.parametrize("make", [task, callback, stored_test])
def test_workload_fails_with_the_reason_when_no_fresh_token_can_be_made(
    driver: Driver, database: None, monkeypatch: pytest.MonkeyPatch, make: Any
) -> None:
    workload = make()
    driver.place(workload)
    monkeypatch.setattr(executor_module, "token_subject", refuses)
    driver.report(driver.session.placed[0].dispatch_id, "token")
    check_told(driver, workload)


def test_workload_fails_with_the_reason_when_it_cannot_be_placed_again(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    workload = task()
    driver.place(workload)
    monkeypatch.setattr(driver.session, "place", refuses)
    driver.report("d1", "token")
    for _ in range(MAX_PLACE_ATTEMPTS):
        driver.executor.heartbeat()
    check_told(driver, workload)
    assert driver.executor._to_place_again == []


@pytest.mark.parametrize("make", [task, callback, stored_test])
def test_workload_fails_with_the_reason_when_its_result_cannot_be_applied(
    driver: Driver, database: None, monkeypatch: pytest.MonkeyPatch, make: Any
) -> None:
    workload = make()
    driver.place(workload)
    monkeypatch.setattr(executor_module, "judge", refuses)
    driver.report(driver.session.placed[0].dispatch_id, "success")
    check_told(driver, workload)


def raises_once(patch: pytest.MonkeyPatch, name: str) -> None:
    """A hook of Airflow's own that raises at its first call."""
    hook = getattr(BaseExecutor, name)
    calls: list[object] = []

    def once(self: BaseExecutor, *args: object, **kwargs: object) -> Any:
        calls.append(args)
        if len(calls) == 1:
            refuses()
        return hook(self, *args, **kwargs)

    patch.setattr(BaseExecutor, name, once)


@pytest.mark.parametrize(
    ("outcome", "hook"), [("failed", "fail"), ("success", "success"), ("lost", "log_task_event")]
)
def test_workload_fails_with_the_reason_when_airflow_refuses_its_result(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, outcome: str, hook: str
) -> None:
    workload = task()
    driver.place(workload)
    raises_once(monkeypatch, hook)
    driver.report("d1", outcome, "because")
    check_told(driver, workload)


def test_workload_fails_with_the_reason_when_its_result_cannot_be_read(driver: Driver) -> None:
    class Unreadable:
        dispatch_id, outcome, worker = "d1", "failed", "w"

        @property
        def info(self) -> str:
            return b"\xff".decode()

    workload = task()
    driver.place(workload)
    driver.session.events = [Unreadable()]
    driver.executor.heartbeat()
    check_told(driver, workload, "can't decode")


def test_workload_that_could_not_be_queued_is_told_though_another_cannot_be(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = task("t1", dispatch="d1"), task("t2", dispatch="d2")
    with monkeypatch.context() as patch:
        patch.setattr(BaseExecutor, "queue_workload", refuses)
        driver.queue(one, other)
    raises_once(monkeypatch, "log_task_event")
    driver.executor.heartbeat()
    assert set(driver.events()) == {driver.key(one), driver.key(other)}


@pytest.mark.parametrize("outcome", ["failed", "rejected", "lost", "gone"])
def test_reason_has_nothing_that_a_database_refuses(driver: Driver, outcome: str) -> None:
    driver.place(task())
    driver.report("d1", outcome, "a\0b\x1b[31m\ud800\n\tc")
    ((_, info),) = driver.events().values()
    assert info == "a\ufffdb\ufffd[31m\ufffd\n\tc"
    assert [reason for _, reason in driver.logged()] == ([] if outcome == "failed" else [info])


def test_reason_of_a_connection_test_has_nothing_that_a_database_refuses(
    driver: Driver, database: None
) -> None:
    workload = stored_test()
    driver.place(workload)
    driver.report(str(workload.connection_test_id), "failed", "a\0b")
    assert stored_state(workload) == ("failed", "a\ufffdb")


@pytest.mark.parametrize("outcome", ["rejected", "lost", "gone", "failed"])
def test_connection_test_that_ends_on_no_worker_fails_with_the_reason(
    driver: Driver, database: None, outcome: str
) -> None:
    workload = stored_test()
    driver.place(workload)
    driver.report(str(workload.connection_test_id), outcome, "because")
    assert stored_state(workload) == ("failed", "because")


def test_connection_test_keeps_what_the_worker_has_told(driver: Driver, database: None) -> None:
    workload = stored_test()
    driver.place(workload)
    with create_session(scoped=False) as session:
        row = session.get(ConnectionTestRequest, workload.connection_test_id)
        row.state, row.result_message = ConnectionTestState.SUCCESS, "Connected"
    driver.report(str(workload.connection_test_id), "lost", "the worker is gone")
    assert stored_state(workload) == ("success", "Connected")


def test_connection_test_without_a_database_does_not_stop_the_others(driver: Driver) -> None:
    test, other = connection_test(), task()
    driver.place(test, other)
    driver.session.events = [Event(str(test.connection_test_id), "lost"), Event("d1", "success")]
    driver.executor.sync()
    assert set(driver.events()) == {driver.key(test), driver.key(other)}


def test_task_that_cannot_be_adopted_has_the_reason_in_its_event_log(driver: Driver) -> None:
    class Unreadable(OrphanedTask):
        @property
        def queue(self) -> str:
            raise RuntimeError("no such column")

        @queue.setter
        def queue(self, value: str) -> None:
            pass

    driver.executor.try_adopt_task_instances([Unreadable("t1", "d1")])
    ((event, reason),) = driver.logged()
    assert event == "zk_executor not adopted"
    assert "no such column" in reason
