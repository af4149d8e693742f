# SPDX-License-Identifier: Apache-2.0
"""The protocol holds in every order of events of dispatch.pml, and each safeguard is needed.

spin turns the model into C, gcc compiles it, the result visits every state.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

MODEL = Path(__file__).parent / "dispatch.pml"
MUTANTS = sorted(set(re.findall(r"\bMUTANT_\w*[A-Z]\b", MODEL.read_text())))
# What a broken model may use before it is stopped, in MiB; the sound one needs a tenth.
MEMORY_MIB = 1500
SAFETY = ("-DSAFETY", "-DNOCLAIM")
# Weak fairness needs room for the number of processes.
LIVENESS = ("-DNFAIR=3",)


def run(folder: Path, *command: str) -> str:
    """Run a command in folder and return what it wrote; it must succeed."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def verify(
    folder: Path, *, defines: tuple[str, ...], compile: tuple[str, ...], search: tuple[str, ...]
) -> str:
    """Search all states; returns pan's report. The search must have been a whole one."""
    run(folder, "spin", *(f"-D{name}" for name in defines), "-a", str(MODEL))
    run(folder, "gcc", "-w", "-O1", *compile, f"-DMEMLIM={MEMORY_MIB}", "-o", "pan", "pan.c")
    report = run(folder, "./pan", "-m100000", "-w22", *search)
    for limit in ("max search depth too small", "reached -DMEMLIM", "out of memory"):
        assert limit not in report, report
    return report


def errors(report: str) -> int:
    """How many errors pan says it has found."""
    found = re.search(r"errors: (\d+)", report)
    assert found, report
    return int(found[1])


def say_size(name: str, report: str) -> None:
    states = re.search(r"(\d+) states, stored", report)
    assert states, report
    print(f"{name}: {states[1]} states")


def test_the_protocol_breaks_no_promise_in_any_order_of_four_faults(tmp_path: Path) -> None:
    report = verify(tmp_path, defines=("FAULTS=4",), compile=SAFETY, search=())
    say_size("safety, 4 faults", report)
    assert errors(report) == 0, report


def test_the_protocol_reaches_an_event_once_faults_stop(tmp_path: Path) -> None:
    report = verify(tmp_path, defines=("FAULTS=3",), compile=LIVENESS, search=("-a", "-f"))
    say_size("liveness, 3 faults", report)
    assert errors(report) == 0, report


def test_every_step_of_the_model_can_be_taken(tmp_path: Path) -> None:
    report = verify(tmp_path, defines=("FAULTS=3",), compile=SAFETY, search=())
    for process in ("Worker", "Scheduler"):
        assert re.search(rf"unreached in proctype {process}\n\s*\(0 of", report), report


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_protocol_without_one_of_its_safeguards_is_caught(tmp_path: Path, mutant: str) -> None:
    report = verify(tmp_path, defines=(mutant,), compile=SAFETY, search=())
    assert errors(report) == 1, report
