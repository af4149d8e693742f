# SPDX-License-Identifier: Apache-2.0
"""README, ARCHITECTURE, CHANGELOG and docs/ name only what there is; see documents.py."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import documents
from zk_executor.cli.definition import ZK_COMMANDS
from zk_executor.get_provider_info import OPTIONS

CHECKS = (
    documents.metrics,
    documents.options,
    documents.commands,
    documents.exit_codes,
    documents.names,
)
Check = Callable[[str], Iterator[str]]


@pytest.mark.parametrize("document", documents.documents(), ids=lambda path: path.name)
def test_a_document_names_only_what_there_is(document: Path) -> None:
    text = document.read_text()
    problems = [problem for check in CHECKS for problem in check(text)]
    problems += documents.paths(text, document)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("adr", sorted((documents.ROOT / "docs" / "adr").glob("*.md")))
def test_a_decision_links_only_to_what_there_is(adr: Path) -> None:
    links = "\n".join(re.findall(r"\]\([^)]*\)", adr.read_text()))
    assert not list(documents.paths(links, adr))


def test_what_the_options_say_names_only_what_there_is() -> None:
    for name, option in OPTIONS.items():
        text = option["description"]
        problems = [problem for check in CHECKS for problem in check(text)]
        assert not problems, (name, problems)


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (documents.metrics, "see `zkexec_worker_entries_refused_total`"),
        (documents.metrics, "`zkexec_worker_slot{by}`"),
        (documents.metrics, "`zkexec_fleet_queue_size`"),
        (documents.metrics, "`zkexec_fleet_reads`"),
        (documents.metrics, "the gauge `zk_executor.foreign`"),
        (documents.metrics, "`zk_executor.connected`, `live_workers`, `foreign`"),
        (documents.options, "set `[zk_executor] host`"),
        (documents.options, "set `[api] jwt_secret`"),
        (documents.options, "```ini\n[zk_executor]\nservers = zk1 ; these\n```\n"),
        (documents.options, "```ini\n[api_auth]\nsecret_key =\n```\n"),
        (documents.options, "| option | what |\n|---|---|\n| `template = True` | x |\n"),
        (documents.options, "| option | what |\n|---|---|\n| `templates = False` | x |\n"),
        (documents.options, "Options `templates`, `template_memory`;"),
        (documents.options, "`AIRFLOW__ZK_EXECUTOR__SLOTS`"),
        (documents.options, "or `ZK_WORKER_SLOT`"),
        (documents.commands, "`airflow zk stop WORKER`"),
        (documents.commands, "`airflow zk workers | queue`"),
        (documents.commands, "`airflow zk queues purge Q`"),
        (documents.commands, "```\n$ airflow zk config put /a b\n```\n"),
        (documents.commands, "`airflow zk worker --slot 3`"),
        (documents.commands, "`airflow zk drain W --force`"),
        (documents.commands, "`zk-worker --hosts a --chroot b`"),
        (documents.commands, "call `make e2e`"),
        (documents.commands, "```\nmake everything\n```\n"),
        (documents.commands, "`--no-such-flag-anywhere`"),
        (documents.exit_codes, "ends with exit code 7"),
        (documents.exit_codes, "Exit codes: 0 done, 9 not done."),
        (documents.names, "`ZookeeperQueueOperator`"),
        (documents.names, "`zk_executor.locking`"),
        (documents.names, "`zk_executor.secrets.zookeeper.ZookeeperBackend`"),
    ],
)
def test_a_check_finds_a_name_that_there_is_not(check: Check, text: str) -> None:
    assert list(check(text))


@pytest.mark.parametrize(
    "text", ["[x](no-such.md)", "[x](#no-such-heading)", "`worker/no_such`", "`common/{a,log}.h`"]
)
def test_a_check_finds_a_path_that_there_is_not(text: str) -> None:
    assert list(documents.paths(text, documents.ROOT / "README.md"))


def test_the_helps_list_the_exit_codes_that_the_worker_has() -> None:
    """README's own are in its table of what goes wrong."""
    (native,) = re.findall(
        r'"Exit codes: (.*?)";', (documents.ROOT / "worker/settings.cc").read_text(), re.DOTALL
    )
    (python,) = [c.epilog for c in ZK_COMMANDS if c.name == "worker"]
    for text in (native.replace('"\n    "', "\n"), python.partition("Exit codes:")[2]):
        listed = {int(number) for number in re.findall(r"(?:^|\s)(\d) ", text)}
        assert listed == documents.worker_exit_codes(), text
