# SPDX-License-Identifier: Apache-2.0
"""What operators and sensors read out of rendered arguments. Pure; any thread.

Without ``render_template_as_native_obj`` a template renders to text, and one that names something
missing to ``None`` or nothing: neither may change what a task does in silence.
Each function takes ``refuse``, which makes the caller's error of a sentence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

Refuse = Callable[[str], Exception]
_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,19}\s*\Z")


class NotGiven:
    """The default of an argument of which None means something."""

    def __repr__(self) -> str:
        return "not given"


NOT_GIVEN = NotGiven()


def integer(name: str, value: Any, refuse: Refuse) -> int:
    """A whole number, or its text."""
    if type(value) is int:
        return value
    if isinstance(value, str) and _INTEGER.match(value):
        return int(value)
    hint = "; what should have given it was not there" if value in (None, "", "None") else ""
    raise refuse(f"{name} is {value!r}; it must be a whole number{hint}")


def revision(name: str, value: Any, refuse: Refuse) -> int:
    """The number of a revision, from 0."""
    number = integer(name, value, refuse)
    if number < 0:
        raise refuse(f"{name} is {value!r}; it must be the number of a revision, from 0")
    return number


def items(name: str, value: Any, refuse: Refuse) -> list[Any]:
    """A list, or the JSON text of one."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    if isinstance(value, (list, tuple)):
        return list(value)
    raise refuse(
        f"{name} must be a list, or the JSON text of one. Give it as task.output, or as a template "
        "with tojson at its end: {{ ti.xcom_pull(task_ids='keys') | tojson }}"
    )
