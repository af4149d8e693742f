# SPDX-License-Identifier: Apache-2.0
"""README's commands are taken out of it as they are written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "readme_blocks.py"

PAGE = """\
# Title

## Install

1. First

   ```sh
   echo one
   ```

   ```ini
   not = this
   ```

### Below

```sh
echo two   # '$quoted'
```

## Other

```sh
echo three
```
"""


def blocks(path: Path, section: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, TOOL, path, section], capture_output=True, text=True, check=False
    )


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    return path


def test_script_runs_the_sh_blocks_of_the_section_and_of_its_subsections_only(page: Path) -> None:
    script = blocks(page, "Install").stdout
    ran = subprocess.run(["bash", "-eu"], input=script, capture_output=True, text=True, check=True)
    assert [line for line in ran.stdout.splitlines() if not line.startswith("===")] == [
        "one",
        "two",
    ]
    # bash prints what it runs, comments included.
    assert "echo two   # '$quoted'" in ran.stderr


def test_script_fails_when_a_block_fails(page: Path) -> None:
    page.write_text(PAGE.replace("echo one", "false"))
    script = blocks(page, "Install").stdout
    ran = subprocess.run(["bash", "-eu"], input=script, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "two" not in ran.stdout


@pytest.mark.parametrize("section", ["Nowhere", "Title of nothing"])
def test_missing_section_is_an_error(page: Path, section: str) -> None:
    done = blocks(page, section)
    assert done.returncode == 2
    assert section in done.stderr


def test_section_without_commands_is_an_error(page: Path) -> None:
    page.write_text("# Title\n## Install\nnothing\n")
    assert blocks(page, "Install").returncode == 2
