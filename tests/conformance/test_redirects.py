# SPDX-License-Identifier: Apache-2.0
"""A redirect is an answer, and no order: the token of a task goes to nobody else."""

from __future__ import annotations

import pytest
from api_server import Answer, ApiServer, Rule
from supervised import Supervised

DAG = """
from airflow.sdk import DAG, Variable, task
with DAG("d"):
    @task
    def ask():
        try:
            print("got", Variable.get("x"))
        except Exception as error:
            print("asked in vain")
    @task
    def say():
        print("ran")
    ask()
    say()
"""
RUN, STATE = "/task-instances/[^/]+/run", "/task-instances/[^/]+/state"


@pytest.fixture(scope="module")
def supervised(tmp_path_factory, folder):
    with Supervised(tmp_path_factory.mktemp("redirects"), WARM="off") as one:
        (one.dags / "dag.py").write_text(DAG)
        yield one


@pytest.fixture
def elsewhere():
    with ApiServer() as api:
        yield api


def to(elsewhere: ApiServer, status: int) -> tuple[Answer, ...]:
    return (Answer(status, headers={"Location": f"{elsewhere.url}variables/x"}),)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirected_request_of_a_task_is_an_error_and_its_token_stays(
    supervised, elsewhere, status
):
    run = supervised.start("ask", rules=(Rule("GET", "/variables/.*", to(elsewhere, status)),))
    ended = supervised.end_of(run)
    assert "asked in vain" in ended.events
    assert ended.outcome == "success"
    assert elsewhere.strangers == []


@pytest.mark.parametrize("status", [303, 307])
def test_redirected_start_is_refused_and_its_token_stays(supervised, elsewhere, status):
    run = supervised.start("say", rules=(Rule("PATCH", RUN, to(elsewhere, status)),))
    ended = supervised.end_of(run)
    assert ended.outcome == "failed"
    assert str(status) in ended.info
    assert elsewhere.strangers == []


@pytest.mark.parametrize("status", [303, 307])
def test_redirected_final_state_does_not_count_as_told(supervised, elsewhere, status):
    run = supervised.start("say", rules=(Rule("PATCH", STATE, to(elsewhere, status)),))
    supervised.end_of(run)
    told = [one for one in supervised.requests(run) if one.route.endswith("/state")]
    assert len(told) > 1, "it was not taken, and is told again at the end"
    assert elsewhere.strangers == []
