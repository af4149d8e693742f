# SPDX-License-Identifier: Apache-2.0
"""Plain text tables. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return an aligned table; columns that hold only numbers are aligned right."""
    body = [["" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(heading, *body, strict=True)]
    numeric = [
        bool(body) and all(_is_number(row[index]) for row in body) for index in range(len(heading))
    ]

    def line(cells: Sequence[str]) -> str:
        parts = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, numeric, strict=True)
        ]
        return "  ".join(parts).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join([line(heading), rule, *(line(row) for row in body)])


def _is_number(text: str) -> bool:
    return text in ("", "-") or text.replace(".", "", 1).lstrip("-").isdigit()
