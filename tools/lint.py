# SPDX-License-Identifier: Apache-2.0
"""Checks the style of everything in the repository; each check is a test case.

tools/lint.py                 check
tools/lint.py --fix           reformat and fix what can be fixed, then check
tools/lint.py --junit-xml F   write the outcome for tools/run_suites.py
"""

from __future__ import annotations

import argparse
import itertools
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
SKIPPED_FOLDERS = {".git", ".build", "build", "dist", "__pycache__", "node_modules"}
CPP = {".cc", ".h"}
HEADED = {".cc", ".h", ".py", ".sh", ".proto"}
# Spelled apart so that this file passes its own check.
UNFINISHED = re.compile(r"\b(" + "TO" + "DO|FIX" + "ME|X" + r"XX)\b")
LICENSE = "SPDX-License-Identifier: Apache-2.0"


class Skipped(Exception):
    """The tool for a check is not there."""


def files(*suffixes: str) -> list[Path]:
    """Files of the repository with one of these endings, relative to it."""
    found = []
    pending = [ROOT]
    while pending:
        for entry in sorted(pending.pop().iterdir()):
            if entry.is_dir() and not entry.is_symlink():
                if entry.name not in SKIPPED_FOLDERS and not entry.name.endswith(".egg-info"):
                    pending.append(entry)
            elif entry.suffix in suffixes:
                found.append(entry.relative_to(ROOT))
    return found


def output_of(*command: str | Path) -> str:
    """Run a command in the repository; its output if it fails, else nothing."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return (done.stdout or f"ended with code {done.returncode}") if done.returncode else ""


def ruff_check() -> str:
    return output_of(BIN / "ruff", "check", "--quiet", ".")


def ruff_format() -> str:
    return output_of(BIN / "ruff", "format", "--check", "--quiet", "--diff", ".")


def clang_format() -> str:
    sources = files(*CPP)
    if not sources:
        raise Skipped("no C++")
    return output_of(BIN / "clang-format", "--dry-run", "--Werror", *sources)


def shell() -> str:
    scripts = [*files(".sh"), Path(".ci/run")]
    problems = [output_of("bash", "-n", script) for script in scripts if (ROOT / script).exists()]
    if checker := shutil.which("shellcheck"):
        problems.append(output_of(checker, *scripts))
    return "\n".join(filter(None, problems))


def headers() -> str:
    missing = [path for path in files(*HEADED) if LICENSE not in _head(path)]
    return "\n".join(f"{path}: the first lines lack {LICENSE}" for path in missing)


def unfinished() -> str:
    problems = []
    for path in files(*HEADED, ".md", ".cmake", ".yaml", ".toml", ".txt"):
        lines = (ROOT / path).read_text(errors="replace").splitlines()
        problems += [
            f"{path}:{number}: {line.strip()}"
            for number, line in enumerate(lines, 1)
            if UNFINISHED.search(line)
        ]
    return "\n".join(problems)


def helm() -> str:
    program = ROOT / ".build" / "go-tools" / "bin" / "helm"
    if not program.exists():
        raise Skipped("no helm program; tools/bootstrap.sh --test builds it")
    values = ROOT / "helm/zk-executor/ci/default-values.yaml"
    return output_of(program, "lint", "--strict", "--values", values, values.parents[1])


def chart_reference() -> str:
    return output_of(sys.executable, "tools/chart_reference.py", "--check")


CHECKS: dict[str, Callable[[], str]] = {
    "python: ruff check": ruff_check,
    "python: ruff format": ruff_format,
    "c++: clang-format": clang_format,
    "shell: bash -n": shell,
    "license headers": headers,
    "nothing unfinished": unfinished,
    "helm lint": helm,
    "the chart's README and schema are those of its values": chart_reference,
}


def fix() -> None:
    """Apply what the formatters can apply."""
    output_of(BIN / "ruff", "check", "--fix", "--quiet", ".")
    output_of(BIN / "ruff", "format", "--quiet", ".")
    if sources := files(*CPP):
        output_of(BIN / "clang-format", "-i", *sources)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fix", action="store_true")
    parser.add_argument("--junit-xml", type=Path)
    options = parser.parse_args()
    if options.fix:
        fix()
    suite = ElementTree.Element("testsuite", name="lint")
    failures = 0
    for name, check in CHECKS.items():
        started = time.monotonic()
        case = ElementTree.SubElement(suite, "testcase", classname="lint", name=name)
        try:
            problem = check()
        except Skipped as reason:
            ElementTree.SubElement(case, "skipped", message=str(reason))
            print(f"skip  {name}: {reason}")
        else:
            if problem:
                failures += 1
                ElementTree.SubElement(case, "failure", message=name).text = problem
                print(f"FAIL  {name}\n{_shortened(problem)}")
            else:
                print(f"ok    {name}")
        case.set("time", f"{time.monotonic() - started:.3f}")
    if options.junit_xml:
        ElementTree.ElementTree(suite).write(options.junit_xml, encoding="unicode")
    return 1 if failures else 0


def _head(path: Path) -> str:
    with (ROOT / path).open(errors="replace") as file:
        return "".join(line for line in itertools.islice(file, 3))


def _shortened(text: str, limit: int = 60) -> str:
    lines = text.splitlines()
    more = [f"... and {len(lines) - limit} lines more"] if len(lines) > limit else []
    return "\n".join(f"      {line}" for line in [*lines[:limit], *more])


if __name__ == "__main__":
    sys.exit(main())
