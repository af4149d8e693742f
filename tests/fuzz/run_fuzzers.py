# SPDX-License-Identifier: Apache-2.0
"""Runs the fuzzers that the preset "fuzz" has built, each for a fixed time, two at a time.

    tests/fuzz/run_fuzzers.py                              all, 40 s each
    tests/fuzz/run_fuzzers.py log --seconds 3600           one, an hour
    tests/fuzz/run_fuzzers.py --replay request FILE...     what a crash said

Each starts from its seeds (corpus/), from inputs that once broke something (broke/), which must not
any more, and from what earlier runs have found (.build/fuzz/corpus/).
An input that breaks something is kept in .build/fuzz/crashes/, and is said with the way to replay
it. To keep what it teaches, put it into broke/. Exit code 0 only if nothing broke.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[2]
SEEDS = ROOT / "tests" / "fuzz" / "corpus"
# Written down by hand, each when it was found; make_corpus.py leaves them alone.
BROKE = ROOT / "tests" / "fuzz" / "broke"
BUILD = ROOT / ".build" / "fuzz"
NAMES = ("request", "answer", "log", "task", "http")
ENVIRONMENT = {
    **os.environ,
    # Names and lines in stacks without llvm's own symbolizer.
    "ASAN_OPTIONS": "allow_addr2line=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}


@dataclass(frozen=True)
class Outcome:
    """How a fuzzer ended. problem is empty if nothing broke."""

    name: str
    seconds: float
    runs: int
    problem: str = ""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="FUZZER", help=", ".join(NAMES))
    parser.add_argument("--seconds", type=int, default=40, help="for each fuzzer (40)")
    parser.add_argument("--jobs", type=int, default=2, help="fuzzers at a time (2)")
    parser.add_argument("--replay", nargs="+", metavar=("FUZZER", "FILE"), help="run these inputs")
    parser.add_argument("--junit-xml", type=Path)
    options = parser.parse_args()
    if unknown := sorted({*options.names, *(options.replay or ())[:1]} - set(NAMES)):
        parser.error(f"no fuzzer {', '.join(unknown)}; there are {', '.join(NAMES)}")
    if options.replay:
        name, *inputs = options.replay
        return subprocess.run([program(name), *inputs], env=ENVIRONMENT, check=False).returncode
    names = options.names or NAMES
    with ThreadPoolExecutor(options.jobs) as pool:
        outcomes = list(pool.map(lambda name: fuzz(name, options.seconds), names))
    for outcome in outcomes:
        print(f"{'FAIL' if outcome.problem else 'ok  '}  {outcome.name}: {outcome.runs} inputs")
    if options.junit_xml:
        write_junit(outcomes, options.junit_xml)
    return 1 if any(outcome.problem for outcome in outcomes) else 0


def program(name: str) -> Path:
    return BUILD / "tests" / "fuzz" / f"{name}_fuzzer"


def fuzz(name: str, seconds: int) -> Outcome:
    """Run one fuzzer to its end; print what it has found."""
    found = BUILD / "corpus" / name
    crashes = BUILD / "crashes"
    found.mkdir(parents=True, exist_ok=True)
    crashes.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    done = subprocess.run(
        [
            program(name),
            f"-max_total_time={seconds}",
            "-rss_limit_mb=2048",
            "-timeout=10",
            "-max_len=16384",
            "-print_final_stats=1",
            f"-artifact_prefix={crashes}/{name}-",
            found,
            SEEDS / name,
            *(folder for folder in (BROKE / name,) if folder.is_dir()),
        ],
        env=ENVIRONMENT,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output = done.stdout.decode(errors="replace")
    runs = re.search(r"stat::number_of_executed_units:\s+(\d+)", output)
    problem = described(name, done.returncode, output) if done.returncode else ""
    if problem:
        print(problem, flush=True)
    taken = time.monotonic() - started
    return Outcome(name, taken, int(runs[1]) if runs else 0, problem)


def described(name: str, code: int, output: str) -> str:
    """The end of what the fuzzer said, from its first complaint on, and how to see it again."""
    at = re.search(r"^broken: |runtime error: |ERROR: ", output, re.MULTILINE)
    told = output[output.rfind("\n", 0, at.start()) + 1 if at else -4000 :][:8000]
    written = re.search(r"Test unit written to (\S+)", output)
    if not written:
        return f"{name}: ended with code {code}\n{told}"
    path = Path(written[1]).relative_to(ROOT)
    return (
        f"{name}: broken by {path}\n{told}\n{name}: replay it with\n"
        f"  {Path(sys.executable)} tests/fuzz/run_fuzzers.py --replay {name} {path}"
    )


def write_junit(outcomes: list[Outcome], path: Path) -> None:
    suite = ElementTree.Element("testsuite", name="fuzz")
    for outcome in outcomes:
        case = ElementTree.SubElement(
            suite, "testcase", classname="fuzz", name=outcome.name, time=f"{outcome.seconds:.3f}"
        )
        if outcome.problem:
            # XML has no words for most control characters.
            text = re.sub(r"[^\t\n\x20-\ud7ff\ue000-\ufffd]", "?", outcome.problem)
            message = text.split("\n", 1)[0]
            ElementTree.SubElement(case, "failure", message=message).text = text
    ElementTree.ElementTree(suite).write(path, encoding="unicode")


if __name__ == "__main__":
    sys.exit(main())
