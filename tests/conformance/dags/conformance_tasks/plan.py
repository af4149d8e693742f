# SPDX-License-Identifier: Apache-2.0
"""A task's plan, and the file for what it learned."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def read(ti: Any) -> dict[str, Any]:
    """The plan of a task instance; empty if it has none."""
    path = Path(os.environ["CONFORMANCE_FOLDER"]) / "plans" / f"{ti.id}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def note(ti: Any, learned: Any) -> None:
    """Write down what a task learned, in the order of the calls. Values keep their key order."""
    path = Path(os.environ["CONFORMANCE_FOLDER"]) / "answers" / f"{ti.id}.jsonl"
    with path.open("a") as file:
        file.write(json.dumps(learned, default=repr) + "\n")
