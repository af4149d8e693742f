# SPDX-License-Identifier: Apache-2.0
"""Rows as Airflow's commands print them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from airflow.cli.simple_table import AirflowConsole
from rich.markup import escape


def print_rows(
    rows: Sequence[Mapping[str, Any]],
    output: str,
    for_people: Callable[[Mapping[str, Any]], dict[str, Any]] = dict,
) -> None:
    """``for_people`` shapes a row for table and plain; json and yaml show it as it is."""
    mapper: Callable[[Mapping[str, Any]], dict[str, Any]] = dict
    if output == "plain":
        mapper = for_people
    elif output == "table":

        def mapper(row: Mapping[str, Any]) -> dict[str, Any]:
            # What people wrote (a comment, say) is not markup.
            return {key: escape(str(value)) for key, value in for_people(row).items()}

    AirflowConsole().print_as(rows, output, mapper)
