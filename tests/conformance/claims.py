# SPDX-License-Identifier: Apache-2.0
"""Whether a case did what it says: two outcomes may be equal because nothing happened in either."""

from __future__ import annotations

from case import Case, Outcome

# Tasks that note the answer to each message of their plan.
NOTING = frozenset({"send_all", "send_at_once", "send_in_coroutines", "send_in_pieces"})


def unproven(case: Case, outcome: Outcome) -> list[str]:
    """
    Return what the case says and the outcome does not show; empty if all is shown.

    A task that sends messages must have been answered each of them. Each rule of the case must
    have given an answer of its own, and all rules together to as many different requests as the
    case says.
    """
    missing = []
    messages = case.plan.get("messages", ())
    if case.task in NOTING and len(outcome.answers) != len(messages):
        missing.append(f"{len(messages)} messages, but {len(outcome.answers)} answers to them")
    for rule, served in zip(case.rules, outcome.served, strict=True):
        if not served:
            missing.append(f"no answer of the rule for {rule.method} {rule.route}")
    different = {(one.method, one.path, one.body) for served in outcome.served for one in served}
    if case.rules and len(different) < case.rules_answer:
        missing.append(f"rules answered {len(different)} requests, not {case.rules_answer}")
    return missing
