# SPDX-License-Identifier: Apache-2.0
"""What the project's documents name, and what of it the code doesn't have.

Each check takes the text of a document and returns what is wrong with it, one line for each fault.
What exists is read from the code itself: the provider's options and commands, Airflow's own
configuration, the sources of zk-worker, the Makefile, the folders.
"""

from __future__ import annotations

import argparse
import configparser
import functools
import re
from collections.abc import Iterator
from pathlib import Path

from airflow.cli import cli_parser
from airflow.configuration import conf

from zk_executor.cli.definition import get_zk_cli_commands
from zk_executor.gauges import NAMES
from zk_executor.get_provider_info import OPTIONS, SECTION

ROOT = Path(__file__).resolve().parents[2]
_SOURCES = (".cc", ".h", ".py", ".pyi", ".sh", ".proto")
_ENDINGS = ("", ".h", ".cc", ".py", ".pyi", ".proto")
# Top folders of the repository, with which a path in a document begins.
_FOLDERS = (
    "bench",
    "cmake",
    "common",
    "docs",
    "executor",
    "helm",
    "packaging",
    "python",
    "tests",
    "tools",
    "worker",
)


def documents() -> list[Path]:
    """Those that say what is so now. ADRs say what was decided then, and stay as they are."""
    below = [ROOT / "docs", ROOT / "docs" / "runbooks"]
    return [
        *sorted(ROOT.glob("*.md")),
        *(one for path in below for one in sorted(path.glob("*.md"))),
    ]


def metrics(text: str) -> Iterator[str]:
    """Names of the worker's metrics and of the executor's gauges."""
    known = metric_names()
    for name in re.findall(r"\bzkexec_(?:worker|fleet)_\w+", text):
        if re.sub(r"_(bucket|sum|count)$", "", name) not in known:
            yield f"there is no metric {name}"
    # `zk_executor.x` in prose is a gauge, or a module of ours.
    for name in re.findall(r"`zk_executor\.(\w+)`", text):
        if name not in NAMES and not _exists(f"python/zk_executor/{name}"):
            yield f"there is no gauge or module zk_executor.{name}"
    # Their list: "`zk_executor.connected`, `live_workers`, …".
    for rest in re.findall(r"`zk_executor\.connected`((?:,\s+`\w+`)+)", text):
        for name in re.findall(r"`(\w+)`", rest):
            if name not in NAMES:
                yield f"there is no gauge zk_executor.{name}"


def metric_names() -> set[str]:
    """Names of the worker's and of the exporter's metrics; counters end in _total."""
    known = set(re.findall(r'"(zkexec_worker_\w+)"', _source("worker/metrics.cc")))
    exporter = _source("python/zk_executor/exporter/metrics.py")
    known |= set(re.findall(r'_counter\(\s*"(zkexec_fleet_\w+)"', exporter))
    counters = {name for name in known if name.startswith("zkexec_fleet_")}
    known |= set(re.findall(r'"(zkexec_fleet_\w+)"', exporter))
    return (known - counters) | {f"{name}_total" for name in counters}


def options(text: str) -> Iterator[str]:
    """Options of Airflow and of ours: in prose, in tables with their defaults, in examples."""
    for section, key in re.findall(r"\[([a-z_]+)\] ([a-z_]+)(?![a-z_])", text):
        yield from _option(section, key)
    for block in re.findall(r"^[ ]*```ini\n(.*?)^[ ]*```", text, re.DOTALL | re.MULTILINE):
        parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=(";",))
        parser.read_string("\n".join(line.strip() for line in block.splitlines()))
        for section in parser.sections():
            for key in parser[section]:
                yield from _option(section, key)
    for table in re.findall(
        r"^[ ]*\| option \|.*\n[ ]*\|[-| ]+\n((?:[ ]*\|.*\n)+)", text, re.MULTILINE
    ):
        for cell in re.findall(r"^[ ]*\| `([^`]*)`", table, re.MULTILINE):
            if cell.startswith("["):
                continue  # with its section, as in prose
            name, _, default = (part.strip() for part in cell.partition("="))
            if name not in OPTIONS:
                yield f"there is no option [{SECTION}] {name}"
            elif default and OPTIONS[name]["default"] != default:
                yield f"the default of [{SECTION}] {name} is not {default}"
    for several in re.findall(r"[Oo]ptions?:? (`[a-z_]+`(?:(?:,| and|, and)\s+`[a-z_]+`)*)", text):
        for name in re.findall(r"`([a-z_]+)`", several):
            if name not in OPTIONS:
                yield f"there is no option [{SECTION}] {name}"
    for name in re.findall(r"AIRFLOW__ZK_EXECUTOR__([A-Z_]+?)(?:_CMD|_SECRET)?\b", text):
        if name.lower() not in OPTIONS and name != "OPTION":
            yield f"there is no option for AIRFLOW__ZK_EXECUTOR__{name}"
    for name in re.findall(r"\bZK_WORKER_[A-Z_]+", text):
        if f'"{name}"' not in _source("worker/settings.cc"):
            yield f"zk-worker reads no variable {name}"


def commands(text: str) -> Iterator[str]:
    """``airflow zk …``, ``zk-worker …``, ``make …``, and flags in a line's code."""
    for call in _calls(text, r"airflow zk"):
        words = call.split()
        for name in words[0].split("|") if words else ():
            if re.fullmatch(r"[a-z]+", name):
                yield from _command(name, words[1:])
    for call in _calls(text, r"zk-worker"):
        known = set(re.findall(r'"(--[a-z-]+)"', _source("worker/settings.cc"))) | {"--help"}
        for flag in set(re.findall(r"--[a-z-]+", call)) - known:
            yield f"zk-worker has no flag {flag}"
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name in re.findall(r"(?:`|^[ $]*)make ([a-z][a-z0-9-]*)", text, re.MULTILINE):
        if name not in targets:
            yield f"there is no target make {name}"
    for span in _spans(text):
        if re.match(r"airflow (?!zk)|pip |apt", span):
            continue  # theirs
        for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+", span):
            if flag != "--help" and f'"{flag}"' not in _all_sources():
                yield f"nothing of ours has a flag {flag}"


def exit_codes(text: str) -> Iterator[str]:
    """``exit code N`` and ``Exit codes: N …`` for codes that zk-worker or our commands give."""
    known = worker_exit_codes() | {0, 1, 2}
    for number in re.findall(r"[Ee]xit code (\d+)", text):
        if int(number) not in known and number != "128":
            yield f"nothing of ours ends with exit code {number}"
    for listed in re.findall(r"Exit codes: ([^.\n]*)", text):
        for number in re.findall(r"(?:^|[,;] )(\d+) ", listed):
            if int(number) not in known:
                yield f"nothing of ours ends with exit code {number}"


def worker_exit_codes() -> set[int]:
    """Those that zk-worker gives by itself. That of a dead guardian's worker nobody sees."""
    found = re.findall(r"^  (k\w+) = (\d+),", _source("worker/daemon.h"), re.MULTILINE)
    return {int(number) for name, number in found if name != "kGuardianDied"}


def names(text: str) -> Iterator[str]:
    """Classes of ours in code spans, and what is imported or named by its full path."""
    for span in _spans(text):
        for name in re.findall(r"\bZ(?:ookeeper|node)[A-Z]\w+", span):
            if not re.search(rf"\bclass {name}\b|\b{name} =", _all_python()):
                yield f"there is no {name}"
        for module, name in re.findall(r"\b(zk_executor(?:\.[a-z_]+)+)(?:\.([A-Z]\w+))?", span):
            path = f"python/{module.replace('.', '/')}"
            gauge = module.count(".") == 1 and module.rpartition(".")[2] in NAMES
            if not gauge and not _exists(path):
                yield f"there is no module {module}"
            elif name and not re.search(rf"\bclass {name}\b", _module_text(path)):
                yield f"{module} has no {name}"


def paths(text: str, document: Path) -> Iterator[str]:
    """Links to files and headings; files and folders of the repository in code spans."""
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        file, _, heading = target.partition("#")
        path = (document.parent / file) if file else document
        if not path.exists():
            yield f"there is no {file}"
        elif heading and path.suffix == ".md" and heading not in _anchors(path.read_text()):
            yield f"{path.name} has no heading #{heading}"
    for span in _spans(text):
        word = span.split()[0] if span.split() else ""
        if not re.match(rf"(?:{'|'.join(_FOLDERS)})/", word) or "<" in word:
            continue
        for path in _braces(word):
            if not _exists(path.rstrip("/")):
                yield f"there is no {path}"


def _option(section: str, key: str) -> Iterator[str]:
    known = conf.configuration_description
    if section == SECTION:
        if key not in OPTIONS:
            yield f"there is no option [{section}] {key}"
    elif key not in {one.lower() for one in known.get(section, {}).get("options", {})}:
        yield f"Airflow has no option [{section}] {key}"


def _command(name: str, rest: list[str]) -> Iterator[str]:
    parser = _commands().get(name)
    if parser is None:
        yield f"there is no command airflow zk {name}"
        return
    flags = set(re.findall(r"--[a-z-]+", " ".join(rest)))
    below = _below(parser)
    chosen = [parser]
    if below and rest and re.fullmatch(r"[a-z|]+", rest[0]):
        chosen = [below[one] for one in rest[0].split("|") if one in below]
        for one in rest[0].split("|"):
            if one not in below:
                yield f"there is no command airflow zk {name} {one}"
    for one in chosen:
        for flag in flags - set(one._option_string_actions):
            yield f"{one.prog.partition(' ')[2]} has no flag {flag}"


@functools.cache
def _commands() -> dict[str, argparse.ArgumentParser]:
    parser = argparse.ArgumentParser(prog="airflow")
    groups = parser.add_subparsers()
    for group in get_zk_cli_commands():
        cli_parser._add_command(groups, group)
    return _below(_below(parser)["zk"])


def _below(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _spans(text: str) -> list[str]:
    """Code in a line: what stands between backquotes, outside of blocks."""
    prose = re.sub(r"^[ ]*```.*?^[ ]*```", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`([^`]+)`", prose)


def _calls(text: str, program: str) -> Iterator[str]:
    """What follows a program's name in code spans, and in lines of blocks."""
    blocks = re.findall(r"^[ ]*```\w*\n(.*?)^[ ]*```", text, re.DOTALL | re.MULTILINE)
    for line in [*_spans(text), *(line for block in blocks for line in block.splitlines())]:
        if found := re.match(rf"[ $]*{program}\s(.*)", line.replace(" | ", "|")):
            yield found[1]


def _braces(word: str) -> list[str]:
    found = re.search(r"\{([^}]*)\}", word)
    if not found:
        return [word]
    return [word.replace(found[0], one) for one in found[1].split(",")]


def _exists(path: str) -> bool:
    return any(any(ROOT.glob(f"{path}{ending}")) for ending in _ENDINGS)


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).strip().replace(" ", "-") for one in headings}


@functools.cache
def _source(path: str) -> str:
    return (ROOT / path).read_text()


def _module_text(path: str) -> str:
    folder = ROOT / path
    files = folder.glob("*.py") if folder.is_dir() else [folder.with_suffix(".py")]
    return "\n".join(file.read_text() for file in files)


@functools.cache
def _all_python() -> str:
    return "\n".join(file.read_text() for file in (ROOT / "python").rglob("*.py"))


@functools.cache
def _all_sources() -> str:
    return "\n".join(
        file.read_text()
        for folder in _FOLDERS
        for file in sorted((ROOT / folder).rglob("*"))
        if file.suffix in _SOURCES and file.name not in ("documents.py", "test_documents.py")
    )
