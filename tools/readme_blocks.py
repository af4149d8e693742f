# SPDX-License-Identifier: Apache-2.0
"""Prints the commands of a section of a Markdown file as one script, in their order, unchanged.

    tools/readme_blocks.py README.md Install

The blocks are those that are marked ```sh in the section with that heading, subsections included.
Before each the script says where it stands in the file, and bash prints its lines as they run.
Exit code 2 if there is no such section, or no block in it.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

HEADING = re.compile(r"(#+) (.*)")
FENCE = re.compile(r" *```(\w*)\s*$")


def blocks(text: str, section: str) -> Iterator[tuple[int, str]]:
    """(line number, commands) of each sh block in the section; ValueError if it is missing."""
    level, seen = 0, False
    language: str | None = None
    start, inside = 0, []
    for number, line in enumerate(text.splitlines(), 1):
        if fence := FENCE.match(line):
            if language is None:
                language, start, inside = fence[1], number, []
                continue
            if language == "sh" and level:
                yield start, "\n".join(inside)
            language = None
        elif language is not None:
            inside.append(line)
        elif heading := HEADING.match(line):
            if level and len(heading[1]) <= level:
                level = 0
            if heading[2].strip() == section:
                level, seen = len(heading[1]), True
    if not seen:
        raise ValueError(f"there is no section {section!r}")


def script(path: Path, section: str) -> str:
    parts = []
    for number, commands in blocks(path.read_text(), section):
        parts.append(f"echo {shlex.quote(f'=== {path.name}, line {number}')}\nset -v\n{commands}")
        parts.append("{ set +v; } 2>/dev/null")
    if not parts:
        raise ValueError(f"there is no sh block in section {section!r}")
    return "\n".join(parts) + "\n"


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        print(script(Path(sys.argv[1]), sys.argv[2]), end="")
    except (OSError, ValueError) as error:
        print(f"{sys.argv[0]}: {sys.argv[1]}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
