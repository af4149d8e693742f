# SPDX-License-Identifier: Apache-2.0
"""Runs test suites one after the other, goes on after failures, and ends with a table and totals.

    tools/run_suites.py              all suites, in the order below
    tools/run_suites.py asan lint    only those
    tools/run_suites.py --list

Each suite leaves a JUnit file and a log in .build/results/. A suite that could not run at all (the
build broke, say) counts as one failure. Exit code 0 only if nothing failed.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from devstack.tables import table

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / ".build" / "results"
PYTHON = sys.executable
REASON_LINES = 8
AIRFLOW_3_4 = "3.4.0b2"
FAILURES_SHOWN = 10

Command = list[str]


@dataclass(frozen=True)
class Suite:
    """Commands that run in order until one fails; the last writes the JUnit file it is given."""

    name: str
    about: str
    commands: Callable[[Path], list[Command]]
    needs: str = ""  # a folder without which there is nothing to run


@dataclass
class Result:
    """What came of a suite. broken says why when there is no JUnit file to count.

    cpu_seconds is of all processes that the suite waited for.
    """

    suite: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0
    cpu_seconds: float = 0
    broken: str = ""
    failures: list[tuple[str, str]] = field(default_factory=list)  # name, the start of the reason


def native(preset: str) -> Callable[[Path], list[Command]]:
    """C++ tests in a preset of CMakePresets.json."""
    return lambda junit: [
        ["cmake", "--preset", preset],
        ["cmake", "--build", "--preset", preset],
        ["ctest", "--preset", preset, "--output-junit", str(junit), "--no-tests=error"],
    ]


def on_airflow(
    version: str, *commands: Callable[[Path], list[Command]]
) -> Callable[[Path], list[Command]]:
    """Suites' commands, with the Python of the environment that has another Airflow."""
    theirs = str(ROOT / ".build" / f"venv-{version}" / "bin" / "python")
    return lambda junit: [
        [theirs if word == PYTHON else word for word in words]
        for command in commands
        for words in command(junit)
    ]


def python(folder: str, *options: str) -> Callable[[Path], list[Command]]:
    """Python tests of a folder."""
    return lambda junit: [
        [PYTHON, "-m", "pytest", "-p", "no:cacheprovider", f"--junit-xml={junit}", *options, folder]
    ]


def bench(junit: Path) -> list[Command]:
    """The benchmarks in short, with their programs built first."""
    return [
        ["cmake", "--preset", "bench"],
        ["cmake", "--build", "--preset", "bench"],
        *python("tests/bench")(junit),
    ]


def conformance(junit: Path) -> list[Command]:
    """The comparison with Airflow's supervisor, with the program that runs ours built first."""
    return [
        ["cmake", "--preset", "asan"],
        ["cmake", "--build", "--preset", "asan", "--target", "zkexec_supervise"],
        *python("tests/conformance", "-q", "--tb=short", "--show-capture=no")(junit),
    ]


def fuzz(junit: Path) -> list[Command]:
    """The fuzzers, each for a short time, with their programs built first."""
    return [
        ["cmake", "--preset", "fuzz"],
        ["cmake", "--build", "--preset", "fuzz"],
        [PYTHON, "tests/fuzz/run_fuzzers.py", "--junit-xml", str(junit)],
    ]


SUITES = (
    Suite("asan", "C++ tests with address and undefined-behaviour sanitizers", native("asan")),
    Suite("tsan", "C++ tests with the thread sanitizer", native("tsan")),
    Suite("fuzz", "any bytes as what tasks and the API server say", fuzz, needs="tests/fuzz"),
    Suite("python", "Python unit tests", python("tests/python"), needs="tests/python"),
    Suite(
        "model",
        "every order of events of a model of the protocol, and of broken ones",
        python("tests/model", "-rP"),
        needs="tests/model",
    ),
    Suite(
        "conformance",
        "tasks under our supervisor and under Airflow's: same requests, same logs",
        conformance,
        needs="tests/conformance",
    ),
    Suite(
        "integration",
        "with ZooKeeper, PostgreSQL and Airflow",
        python(
            "tests/integration",
            "--ignore=tests/integration/test_every_version.py",
            "-v",
            "--tb=short",
            "--show-capture=stdout",
        ),
        needs="tests/integration",
    ),
    Suite(
        "python-3.4",
        "Python unit tests, on Airflow 3.4",
        on_airflow(AIRFLOW_3_4, python("tests/python")),
    ),
    Suite(
        "conformance-3.4",
        "tasks under our supervisor and under Airflow 3.4's: same requests, same logs",
        on_airflow(AIRFLOW_3_4, conformance),
    ),
    Suite(
        "integration-3.4",
        "Airflow 3.4 with ZooKeeper and PostgreSQL: examples as under LocalExecutor",
        on_airflow(
            AIRFLOW_3_4,
            python(
                "tests/integration/test_every_version.py",
                "-v",
                "--tb=short",
                "--show-capture=stdout",
            ),
        ),
    ),
    Suite(
        "e2e",
        "with everything, slow",
        python("tests/e2e", "-v", "--tb=short", "--show-capture=stdout"),
        needs="tests/e2e",
    ),
    Suite("bench", "the benchmarks work (not: how fast)", bench, needs="tests/bench"),
    Suite(
        "chaos",
        "thousands of dispatches while servers, workers and schedulers are killed and cut off",
        python("tests/chaos", "-v", "--tb=short", "--show-capture=stdout"),
        needs="tests/chaos",
    ),
    Suite(
        "lint",
        "style of C++, Python, shell and Helm",
        lambda junit: [[PYTHON, "tools/lint.py", "--junit-xml", str(junit)]],
    ),
)
# Not part of the whole, because asan runs the same tests.
EXTRA = (Suite("dev", "C++ tests, plain debug build", native("dev")),)


def main() -> int:
    by_name = {suite.name: suite for suite in (*SUITES, *EXTRA)}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=", ".join(by_name))
    parser.add_argument("--list", action="store_true", help="say what there is")
    options = parser.parse_args()
    if options.list:
        print(table(("suite", "what"), [(suite.name, suite.about) for suite in by_name.values()]))
        return 0
    unknown = sorted(set(options.suites) - set(by_name))
    if unknown:
        parser.error(f"no suite {', '.join(unknown)}; there are {', '.join(by_name)}")
    chosen = [by_name[name] for name in options.suites] or list(SUITES)
    RESULTS.mkdir(parents=True, exist_ok=True)
    results = [run(suite) for suite in chosen if not suite.needs or (ROOT / suite.needs).is_dir()]
    report(results)
    return 1 if any(result.failed for result in results) else 0


def run(suite: Suite) -> Result:
    """Run a suite with its output on ours and in its log."""
    junit = RESULTS / f"{suite.name}.xml"
    junit.unlink(missing_ok=True)
    started = time.monotonic()
    cpu_before = cpu_of_children()
    code = 0
    command: Command = []
    with (RESULTS / f"{suite.name}.log").open("wb") as log:
        for command in suite.commands(junit):
            heading = f"\n=== {suite.name}: {' '.join(command)}\n"
            emit(heading.encode(), log)
            code = run_command(command, log)
            if code:
                break
    result = count(suite.name, junit)
    result.seconds = time.monotonic() - started
    result.cpu_seconds = cpu_of_children() - cpu_before
    if code and not result.failed:
        result.failed = 1
        result.broken = result.broken or f"ended with code {code}: {' '.join(command)}"
    return result


def run_command(command: Command, log) -> int:
    environment = {
        **os.environ,
        "CCACHE_DIR": str(ROOT / ".build" / "ccache"),
        "PATH": f"{Path(PYTHON).parent}:{os.environ.get('PATH', os.defpath)}",
        "PYTHONUNBUFFERED": "1",
    }
    try:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
        )
    except OSError as error:
        emit(f"{command[0]}: {error.strerror}\n".encode(), log)
        return 127
    assert process.stdout is not None
    for line in process.stdout:
        emit(line, log)
    return process.wait()


def cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def emit(text: bytes, log) -> None:
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()
    log.write(text)


def count(name: str, junit: Path) -> Result:
    """Count test cases; without a readable file the suite is one failure."""
    try:
        root = ElementTree.parse(junit).getroot()
    except (OSError, ElementTree.ParseError):
        return Result(name, failed=1, broken="it did not get as far as its tests")
    result = Result(name)
    for case in root.iter("testcase"):
        fault = case.find("failure")
        if fault is None:
            fault = case.find("error")
        if fault is not None:
            result.failed += 1
            result.failures.append((case.get("name", "?"), reason(case, fault)))
        elif case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
            result.skipped += 1
        else:
            result.passed += 1
    return result


def reason(case: ElementTree.Element, fault: ElementTree.Element) -> str:
    """The last lines of what pytest or ctest (which puts all into system-out) say of a failure."""
    text = fault.get("message") or fault.text or ""
    if len(text.split()) < 2:
        text = case.findtext("system-out") or text
    lines = [line for line in text.splitlines() if line.strip()]
    return "\n".join(f"    {line[:300]}" for line in lines[-REASON_LINES:])


def report(results: list[Result]) -> None:
    """The table, what failed with its reasons, and the totals as the last line."""
    heading = ("suite", "passed", "failed", "skipped", "seconds", "CPU seconds")
    rows = [
        (r.suite, r.passed, r.failed, r.skipped, f"{r.seconds:.1f}", f"{r.cpu_seconds:.1f}")
        for r in results
    ]
    print("\n" + table(heading, rows) + "\n")
    for result in results:
        if result.broken:
            print(f"{result.suite}: {result.broken}")
        if result.failed:
            print(f"{result.suite}: see {RESULTS / result.suite}.log")
        for name, why in result.failures[:FAILURES_SHOWN]:
            print(f"  {result.suite}: {name}\n{why}")
        if len(result.failures) > FAILURES_SHOWN:
            print(f"  {result.suite}: and {len(result.failures) - FAILURES_SHOWN} more")
    passed = sum(result.passed for result in results)
    failed = sum(result.failed for result in results)
    skipped = sum(result.skipped for result in results)
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)


if __name__ == "__main__":
    sys.exit(main())
