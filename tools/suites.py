# SPDX-License-Identifier: Apache-2.0
"""Which test suites there are, what each runs, and which may run beside which.

A suite has a lane. Suites of one lane run one after the other, the lanes run side by side: those
that mostly wait (for servers, sessions, schedules) beside those that mostly compute, which get only
what the others leave of the processors.

Threads: any; nothing here runs anything. Errors: none.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHON = Path(sys.executable)
# The environment with the other Airflow that we name.
PYTHON_3_4 = ROOT / ".build" / "venv-3.4.0b2" / "bin" / "python"
EVERY_VERSION = "tests/integration/test_every_version.py"
HAZARDS = "tests/integration/hazards"
DIFFERENTIAL = "tests/integration/differential"
NOT_INTEGRATION = [f"--ignore={path}" for path in (EVERY_VERSION, HAZARDS, DIFFERENTIAL)]

Command = list[str]


class Lane(Enum):
    """Suites that take turns. ports is where devstack.free_port() looks, apart from other lanes."""

    COMPUTES = "15000-23499"
    WAITS = "23500-32000"

    @property
    def ports(self) -> str:
        return self.value


@dataclass(frozen=True)
class Suite:
    """Commands that run in order until one fails; the last writes the JUnit file it is given."""

    name: str
    about: str
    lane: Lane
    commands: Callable[[Path], list[Command]]


def _build(preset: str, *targets: str) -> list[Command]:
    """Builds a preset of CMakePresets.json, one suite at a time: ninja expects to be alone."""
    lock = ["flock", str(ROOT / ".build" / f"{preset}.lock")]
    return [
        [*lock, "cmake", "--preset", preset],
        [
            *lock,
            "cmake",
            "--build",
            "--preset",
            preset,
            *(("--target", *targets) if targets else ()),
        ],
    ]


def _native(preset: str) -> Callable[[Path], list[Command]]:
    """C++ tests in a preset."""
    return lambda junit: [*_build(preset), _ctest(preset, junit)]


def _ctest(preset: str, junit: Path, *options: str) -> Command:
    command = ["ctest", "--preset", preset, "--output-junit", str(junit), "--no-tests=error"]
    return [*command, *options]


def _python(folder: str, *options: str, python: Path = PYTHON) -> Callable[[Path], list[Command]]:
    """Python tests of a folder, or of a file."""
    pytest = [str(python), "-m", "pytest", "-p", "no:cacheprovider"]
    return lambda junit: [[*pytest, f"--junit-xml={junit}", *options, folder]]


def _with_build(
    preset: str, target: str, tests: Callable[[Path], list[Command]]
) -> Callable[[Path], list[Command]]:
    """Tests that need a program of ours, built first."""
    return lambda junit: [*_build(preset, target), *tests(junit)]


def _many_worlds(junit: Path) -> list[Command]:
    only = ("--tests-regex", "^Simulation[.]")
    return [*_build("release", "zkexec_sim"), _ctest("release", junit, *only)]


def _fuzz(junit: Path) -> list[Command]:
    fuzz = [str(PYTHON), "tests/fuzz/run_fuzzers.py", "--junit-xml", str(junit)]
    return [*_build("fuzz"), fuzz]


def _lint(junit: Path) -> list[Command]:
    return [[str(PYTHON), "tools/lint.py", "--junit-xml", str(junit)]]


VERBOSE = ("-v", "--tb=short", "--show-capture=stdout")

# Within a lane in this order: what fails quickly, and then what others need, first.
SUITES = (
    Suite("lint", "style of C++, Python and shell", Lane.COMPUTES, _lint),
    Suite("python", "Python unit tests", Lane.COMPUTES, _python("tests/python")),
    Suite(
        "python-3.4",
        "Python unit tests, on Airflow 3.4",
        Lane.COMPUTES,
        _python("tests/python", python=PYTHON_3_4),
    ),
    Suite(
        "chart",
        "the Helm chart: every value, every refusal, the API server's schemas",
        Lane.COMPUTES,
        _python("tests/chart", "-q", "--tb=short"),
    ),
    Suite(
        "asan",
        "C++ tests with address and undefined-behaviour sanitizers",
        Lane.COMPUTES,
        _native("asan"),
    ),
    Suite(
        "tsan",
        "C++ tests of what has threads, with the thread sanitizer",
        Lane.COMPUTES,
        _native("tsan"),
    ),
    Suite("sim", "many simulated worlds, each from a seed", Lane.COMPUTES, _many_worlds),
    Suite("fuzz", "any bytes as what tasks and the API server say", Lane.COMPUTES, _fuzz),
    Suite(
        "model",
        "every order of events of a model of the protocol, and of broken ones",
        Lane.COMPUTES,
        _python("tests/model", "-rP"),
    ),
    Suite(
        "integration",
        "with ZooKeeper, PostgreSQL and Airflow",
        Lane.WAITS,
        _python("tests/integration", *NOT_INTEGRATION, *VERBOSE),
    ),
    Suite(
        "hazards",
        "DAG files that could tell that a task was forked, under three ways to run tasks",
        Lane.WAITS,
        _python(HAZARDS, "-q", "--tb=short", "--show-capture=no"),
    ),
    Suite(
        "integration-3.4",
        "Airflow 3.4 with ZooKeeper and PostgreSQL: examples as under LocalExecutor",
        Lane.WAITS,
        _python(EVERY_VERSION, *VERBOSE, python=PYTHON_3_4),
    ),
    # Their tasks have deadlines; by now what computes has been done.
    Suite(
        "conformance",
        "tasks under our supervisor and under Airflow's: same requests, same logs",
        Lane.WAITS,
        _with_build(
            "asan",
            "zkexec_supervise",
            _python("tests/conformance", "-q", "--tb=short", "--show-capture=no"),
        ),
    ),
    Suite(
        "conformance-3.4",
        "tasks under our supervisor and under Airflow 3.4's: same requests, same logs",
        Lane.WAITS,
        _with_build(
            "asan",
            "zkexec_supervise",
            _python(
                "tests/conformance", "-q", "--tb=short", "--show-capture=no", python=PYTHON_3_4
            ),
        ),
    ),
    Suite(
        "bench",
        "the benchmarks work (not: how fast)",
        Lane.WAITS,
        _with_build("release", "zkexec_bench", _python("tests/bench")),
    ),
    # Last, when it has the machine for itself: its faults have deadlines.
    Suite(
        "chaos",
        "thousands of dispatches while servers, workers and schedulers are killed and cut off",
        Lane.WAITS,
        _python("tests/chaos", *VERBOSE),
    ),
)
EXTRA = (
    # Not part of the whole, because asan runs the same tests.
    Suite("dev", "C++ tests, plain debug build", Lane.COMPUTES, _native("dev")),
    # Nor this, because it takes long; integration runs half of it.
    Suite(
        "differential",
        "all example DAGs three times, under LocalExecutor and ours: same states, same logs",
        Lane.WAITS,
        _python(DIFFERENTIAL, "-q", "--tb=short", "--show-capture=no"),
    ),
)
