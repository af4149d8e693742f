# SPDX-License-Identifier: Apache-2.0
"""What came of test suites: counted from their JUnit files, and told as tables.

Threads: any. Errors: none; a file that can't be read is counted as one failure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from devstack.tables import table

REASON_LINES = 8
FAILURES_SHOWN = 10
SLOWEST_SHOWN = 10


@dataclass
class Result:
    """What came of a suite. broken says why when there is no JUnit file to count.

    cpu_seconds is of all processes that the suite waited for, build_seconds of the commands before
    the last, which builds nothing. tests holds seconds and name of each test.
    """

    suite: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0
    build_seconds: float = 0
    cpu_seconds: float = 0
    broken: str = ""
    failures: list[tuple[str, str]] = field(default_factory=list)  # name, the start of the reason
    tests: list[tuple[float, str]] = field(default_factory=list)


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
            result.failures.append((case.get("name", "?"), _reason(case, fault)))
        elif case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
            result.skipped += 1
        else:
            result.passed += 1
        result.tests.append((float(case.get("time") or 0), _full_name(case)))
    return result


def _full_name(case: ElementTree.Element) -> str:
    """Name of a test, with its file where that is told; ctest repeats the name instead."""
    # ctest adds what a parameterised test was given, which is long and says little.
    name = case.get("name", "?").partition("  # GetParam")[0]
    owner = case.get("classname", "").partition("  # GetParam")[0]
    return name if owner in ("", name) else f"{owner.rpartition('.')[2]}: {name}"


def _reason(case: ElementTree.Element, fault: ElementTree.Element) -> str:
    """The last lines of what pytest or ctest (which puts all into system-out) say of a failure."""
    text = fault.get("message") or fault.text or ""
    if len(text.split()) < 2:
        text = case.findtext("system-out") or text
    lines = [line for line in text.splitlines() if line.strip()]
    return "\n".join(f"    {line[:300]}" for line in lines[-REASON_LINES:])


def report(results: Iterable[Result], seconds: float, logs: Path) -> str:
    """The tables, what failed with its reasons, and the totals as the last line.

    seconds is how long it all took; logs is the folder with <suite>.log.
    """
    results = list(results)
    heading = ("suite", "passed", "failed", "skipped", "seconds", "of it build", "CPU seconds")
    rows = [
        (
            *(r.suite, r.passed, r.failed, r.skipped),
            *(f"{r.seconds:.1f}", f"{r.build_seconds:.1f}", f"{r.cpu_seconds:.1f}"),
        )
        for r in results
    ]
    parts = ["", table(heading, rows), f"\nin {seconds:.0f} s; lanes of suites ran side by side\n"]
    slowest = sorted(((*test, r.suite) for r in results for test in r.tests), reverse=True)
    if slowest:
        rows = [(f"{took:.1f}", suite, name) for took, name, suite in slowest[:SLOWEST_SHOWN]]
        parts += ["the slowest tests", table(("seconds", "suite", "test"), rows), ""]
    for result in results:
        if result.broken:
            parts.append(f"{result.suite}: {result.broken}")
        if result.failed:
            parts.append(f"{result.suite}: see {logs / result.suite}.log")
        for name, why in result.failures[:FAILURES_SHOWN]:
            parts.append(f"  {result.suite}: {name}\n{why}")
        if len(result.failures) > FAILURES_SHOWN:
            parts.append(f"  {result.suite}: and {len(result.failures) - FAILURES_SHOWN} more")
    passed = sum(result.passed for result in results)
    failed = sum(result.failed for result in results)
    skipped = sum(result.skipped for result in results)
    parts.append(f"{passed} passed, {failed} failed, {skipped} skipped")
    return "\n".join(parts)
