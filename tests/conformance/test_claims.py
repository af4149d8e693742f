# SPDX-License-Identifier: Apache-2.0
"""Outcomes in which nothing happened are found out."""

from __future__ import annotations

from api_server import DEFAULT, Answer, Request, Rule, Script
from case import Case, Outcome
from claims import unproven

ASK = {"type": "GetVariable", "key": "k"}
RULE = Rule("GET", "/variables/.*", (Answer(404),))


def outcome(*, answers: int = 0, served: tuple[tuple[Request, ...], ...] = ()) -> Outcome:
    return Outcome({}, (), None, (), ("{}",) * answers, served)


def request(path: str = "/execution/variables/k") -> Request:
    return Request("GET", path, {}, b"")


def test_case_whose_rule_answered_and_whose_messages_were_answered_is_proven():
    case = Case("x", "send_all", {"messages": [ASK]}, (RULE,))
    assert unproven(case, outcome(answers=1, served=((request(),),))) == []


def test_case_without_rules_and_messages_claims_nothing():
    assert unproven(Case("x", "succeed"), outcome()) == []


def test_task_that_ended_before_its_messages_were_answered_is_found():
    case = Case("x", "send_all", {"messages": [ASK, ASK]})
    assert unproven(case, outcome(answers=1)) == ["2 messages, but 1 answers to them"]


def test_rule_that_answered_nothing_is_found():
    case = Case("x", "succeed", rules=(RULE,))
    assert "no answer of the rule for GET /variables/.*" in unproven(case, outcome(served=((),)))


def test_rules_that_answered_the_same_request_only_are_found():
    case = Case("x", "succeed", rules=(RULE,), rules_answer=2)
    found = unproven(case, outcome(served=((request(), request()),)))
    assert found == ["rules answered 1 requests, not 2"]


def test_script_counts_an_answer_of_a_rule_but_not_the_default_one():
    rule = Rule("GET", ".*", (DEFAULT, Answer(404)))
    script = Script((rule,), lambda _: Answer(200))
    assert [script.answer(request()).status for _ in range(2)] == [200, 404]
    assert script.served == [[request()]]
