# SPDX-License-Identifier: Apache-2.0
"""The steps of scripts: side by side, with progress, seconds, and the log of one that failed."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from pathlib import Path

import pytest

STEPS = Path(__file__).resolve().parents[2] / "tools" / "steps.sh"

HEAD = f"""
set -euo pipefail
say() {{ echo "$*"; }}
STEP_SECONDS=seconds.tsv
. {STEPS}
none() {{ :; }}
"""


def bash(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", HEAD + script],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_steps_run_side_by_side_and_their_seconds_are_written(tmp_path: Path) -> None:
    done = bash(
        tmp_path,
        """
        meet() { touch "$1"; until [[ -e "$2" ]]; do sleep 0.01; done; }
        start_step "one" logs/one none meet a b
        start_step "two" logs/two none meet b a
        finish_steps
        """,
    )
    assert done.returncode == 0, done.stderr
    seconds = (tmp_path / "seconds.tsv").read_text().splitlines()
    assert sorted(line.split("\t")[0] for line in seconds) == ["one", "two"]


def test_step_ends_at_its_first_failing_command_and_names_its_log(tmp_path: Path) -> None:
    done = bash(
        tmp_path,
        """
        fails() { echo before; false; echo after; }
        start_step "bad" logs/bad none fails
        start_step "good" logs/good none true
        finish_steps || { echo "$FAILED_STEP in $FAILED_LOG"; cat "$FAILED_LOG"; exit 7; }
        """,
    )
    assert done.returncode == 7
    assert done.stdout.endswith("bad in logs/bad\nbefore\n")
    assert "good: done in" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_steps_end_with_all_that_they_started_when_the_script_is_ended(
    tmp_path: Path, number: int
) -> None:
    os.mkfifo(tmp_path / "held")
    script = """
        child() { bash -c 'echo > begun; exec sleep 600'; echo after; }
        start_step "long" logs/long none child 3> held
        finish_steps
        """
    process = subprocess.Popen(
        ["bash", "-c", HEAD + script], cwd=tmp_path, stdout=subprocess.DEVNULL
    )
    # The step, and what it started, hold the other end of this pipe until they have ended.
    with (tmp_path / "held").open() as held:
        while not (tmp_path / "begun").exists():
            os.sched_yield()
        process.send_signal(number)
        assert process.wait(timeout=60) == 128 + number
        ended, _, _ = select.select([held], [], [], 60)
        assert ended and held.read() == ""


def test_progress_is_read_from_the_logs_of_apt_pip_and_ninja(tmp_path: Path) -> None:
    (tmp_path / "apt").write_text(
        "0 upgraded, 3 newly installed, 0 to remove\nUnpacking a\nUnpacking b\nSetting up a\n"
    )
    (tmp_path / "pip").write_text("Collecting a\nCollecting b\n")
    (tmp_path / "ninja").write_text("  [3/82] Building\n  [4/82] Building\n")
    done = bash(tmp_path, "measure_apt apt; measure_pip pip; measure_ninja ninja")
    assert done.stdout.splitlines() == [
        "2 unpacked and 1 set up of 3 packages",
        "2 packages found",
        "4 of 82 compiled",
    ]
