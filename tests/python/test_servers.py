# SPDX-License-Identifier: Apache-2.0
"""Server lists: the table that common/server_list.h is tested with, too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kazoo.hosts import collect_hosts

from zk_executor.servers import InvalidServers, parse_servers

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).resolve().parents[1] / "data" / "server_lists.json").read_text()
)
GOOD = [case for case in CASES if "error" not in case]
BAD = [case for case in CASES if "error" in case]


def about(case: dict[str, Any]) -> str:
    return case["about"]


@pytest.mark.parametrize("case", GOOD, ids=about)
def test_servers_are_read_as_the_table_says(case: dict[str, Any]) -> None:
    assert parse_servers(case["text"]) == case["servers"]
    assert parse_servers(case["servers"]) == case["servers"]


@pytest.mark.parametrize("case", BAD, ids=about)
def test_servers_are_refused_as_the_table_says(case: dict[str, Any]) -> None:
    with pytest.raises(InvalidServers) as caught:
        parse_servers(case["text"])
    assert str(caught.value) == case["error"]


@pytest.mark.parametrize("case", GOOD, ids=about)
def test_servers_mean_the_same_to_kazoo(case: dict[str, Any]) -> None:
    found, chroot = collect_hosts(parse_servers(case["text"]))
    assert not chroot
    assert [f"{host}:{port}" for host, port in found] == case["for_client"].lower().split(",")


def test_servers_without_a_port_get_the_one_that_is_named() -> None:
    assert parse_servers("zk1,zk2:1,[::1]", 2281) == "zk1:2281,zk2:1,[::1]:2281"
    with pytest.raises(InvalidServers, match="must be 1 to 65535"):
        parse_servers("zk1", 70000)


def test_servers_with_a_nul_character_are_refused() -> None:
    for text in ("zk1\0:2181", "[::1\0]:2181"):
        with pytest.raises(InvalidServers):
            parse_servers(text)
