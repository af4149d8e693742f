# SPDX-License-Identifier: Apache-2.0
"""The cases cover what the installed Airflow can say."""

from __future__ import annotations

from collections import Counter

import messages
import pytest
from cases import all_cases


def test_every_message_type_of_the_installed_airflow_is_known():
    """A new type has to be looked at: it needs an answer in answers.py, and is it a last word?"""
    assert set(messages.models()) == messages.known()


@pytest.mark.parametrize("kind", sorted(messages.models()))
def test_message_is_generated_with_required_and_with_all_fields(kind):
    model = messages.models()[kind]
    generated = messages.generated(kind)
    assert model.model_validate(generated[0])
    fields = {field.alias or name for name, field in model.model_fields.items()}
    assert fields in [set(message) for message in generated]


def test_every_message_type_is_sent_in_a_case():
    sent = {message["type"] for case in all_cases() for message in case.plan.get("messages", ())}
    assert sent == set(messages.models())


def test_names_of_cases_differ():
    counts = Counter(case.name for case in all_cases())
    assert [name for name, count in counts.items() if count > 1] == []
