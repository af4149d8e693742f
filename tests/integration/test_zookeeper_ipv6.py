# SPDX-License-Identifier: Apache-2.0
"""A ZooKeeper that listens on ::1 alone, reached by the C client and by kazoo."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack import ZkWorker, ZooKeeperServer, fake_python
from zk_executor import _core
from zk_executor.hooks.login import Login
from zk_executor.hooks.zookeeper import ZookeeperHook
from zk_executor.servers import parse_servers


@pytest.fixture(scope="module")
def server(session_folder: Path) -> Iterator[ZooKeeperServer]:
    if not Path("/proc/net/if_inet6").exists():
        pytest.skip("this host has no IPv6")
    with ZooKeeperServer(session_folder / "zookeeper-ipv6", address="::1") as one:
        yield one


def test_the_server_is_not_reached_over_ipv4(server: ZooKeeperServer) -> None:
    with pytest.raises(_core.ZkError, match=f"127.0.0.1:{server.port}"):
        _core.inspect_workers(
            hosts=f"127.0.0.1:{server.port}",
            root="/r",
            team="default",
            digest_auth="",
            timeout_ms=1000,
        )


def test_the_c_client_reaches_an_address_in_brackets(server: ZooKeeperServer) -> None:
    assert server.hosts == f"[::1]:{server.port}"
    for hosts in (server.hosts, f"127.0.0.1:1, {server.hosts}"):
        assert (
            _core.inspect_workers(
                hosts=hosts, root="/r", team="default", digest_auth="", timeout_ms=20_000
            )
            == []
        )


def test_kazoo_reaches_an_address_in_brackets(server: ZooKeeperServer) -> None:
    with ZookeeperHook("six", login=Login("six", parse_servers(server.hosts))) as hook:
        assert hook.call("exists", "/") is not None


def test_a_worker_serves_and_its_guardian_cleans_up_over_ipv6(
    server: ZooKeeperServer, tmp_path: Path
) -> None:
    root = f"/test-{secrets.token_hex(8)}"
    python = fake_python(tmp_path, hosts="wrong:1", root=root)
    options = ("--hosts", f" [::1]:{server.port} ")
    worker = ZkWorker(tmp_path, os.environ, name="w", python=python, options=options)
    try:
        worker.start()
        where = {"hosts": server.hosts, "root": root, "team": "default", "digest_auth": ""}
        (row,) = _core.inspect_workers(**where, timeout_ms=20_000)
        assert row["worker"] == worker.full_name
        worker.kill_worker_process()  # the guardian closes its session, long before it would end
        assert _core.inspect_workers(**where, timeout_ms=20_000) == []
    finally:
        worker.stop()


@pytest.mark.parametrize(
    ("hosts", "why"),
    [
        ("", "at least one server"),
        ("::1:2181", "in brackets"),
        ("zk1:2181/chroot", "in front of the root"),
        ("zk1:0", "1 to 65535"),
    ],
)
def test_servers_that_cannot_be_used_are_refused_by_the_core_at_once(hosts: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        _core.inspect_workers(
            hosts=hosts, root="/r", team="default", digest_auth="", timeout_ms=60_000
        )
    with pytest.raises(ValueError, match=why):
        _core.Session(
            hosts=hosts,
            root="/r",
            team="default",
            scheduler_id="s1",
            session_timeout_ms=10_000,
            partitions=4,
            encryption_secret=b"an encryption key",
            digest_auth="",
            max_workload_bytes=100_000,
        )
