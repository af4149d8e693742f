# SPDX-License-Identifier: Apache-2.0
"""``airflow zk exporter`` on a real ZooKeeper with real workers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from test_guardian import Site

from devstack import ZooKeeperServer, wait_until
from devstack.exporter import Exporter

TASK = "touch {folder}/{mark}; while [ ! -e {folder}/go ]; do sleep 0.05; done"


@contextmanager
def exported(site: Site) -> Iterator[Exporter]:
    one = Exporter(site.folder, hosts=site.zookeeper.hosts, root=site.root)
    one.start()
    yield one
    one.stop()


@pytest.fixture
def site(tmp_path: Path, zookeeper: ZooKeeperServer) -> Iterator[Site]:
    one = Site(tmp_path, zookeeper)
    yield one
    one.close()


@pytest.fixture
def exporter(site: Site) -> Iterator[Exporter]:
    with exported(site) as one:
        yield one


def soon(exporter: Exporter, what: Callable[[], bool]) -> None:
    wait_until(
        what,
        "the exporter to say so",
        timeout=60,
        needs=[exporter.process],
        describe=lambda: str(exporter.get("/fleet")),
    )


def sample(exporter: Exporter, name: str) -> float | None:
    return exporter.metrics().get(name)


def test_exporter_tells_what_waits_runs_and_works(site: Site, exporter: Exporter) -> None:
    site.place("d1", TASK.format(folder=site.folder, mark="started"))
    depth = 'zkexec_fleet_queue_depth{queue="default"}'
    soon(exporter, lambda: sample(exporter, depth) == 1)
    assert exporter.json("/scale?queue=default")["load"] == 1
    assert sample(exporter, 'zkexec_fleet_workers{state="active"}') == 0
    site.worker()
    running = 'zkexec_fleet_queue_running{queue="default"}'
    soon(exporter, lambda: sample(exporter, running) == 1)
    now = exporter.metrics()
    assert now[depth] == 0
    assert now['zkexec_fleet_queue_reserved_slots{queue="default"}'] == 1
    assert now['zkexec_fleet_queue_workers{queue="default"}'] == 1
    assert now['zkexec_fleet_workers{state="active"}'] == 1
    assert now['zkexec_fleet_slots{state="active"}'] == 16
    assert now["zkexec_fleet_dispatches_without_claim"] == 0
    assert now["zkexec_fleet_schedulers"] == 1
    assert now["zkexec_fleet_unrecognized_znodes"] == 0
    (worker,) = exporter.json("/fleet")["workers"]
    assert (worker["running"], worker["reserved_slots"]) == (1, 1)
    scale = exporter.json("/scale?queue=default&queue=other")
    assert (scale["depth"], scale["running"], scale["load"]) == (0, 1, 1)
    (site.folder / "go").touch()
    assert site.event("d1").outcome == "success"
    soon(exporter, lambda: sample(exporter, running) == 0)


def test_exporter_counts_commands_runs_without_claim_and_strangers(
    site: Site, exporter: Exporter
) -> None:
    base = f"{site.root}/default"
    worker = site.worker()
    site.start_sleeper()
    site.kazoo.create(f"{base}/somebody-else")
    site.kazoo.create(f"{base}/control/nobody/command-0000000000", makepath=True)
    soon(exporter, lambda: sample(exporter, "zkexec_fleet_unrecognized_znodes") == 1)
    soon(exporter, lambda: sample(exporter, "zkexec_fleet_commands_waiting") == 1)
    (claim,) = site.claims()
    (partition,) = [
        one for one in site.children("running/default") if site.children(f"running/default/{one}")
    ]
    # Stopped, the worker does not see it; its claim is made anew when it does.
    pid = worker.worker_pid
    os.kill(pid, 19)
    try:
        site.kazoo.delete(f"{base}/running/default/{partition}/d1/{claim}")
        soon(exporter, lambda: sample(exporter, "zkexec_fleet_dispatches_without_claim") == 1)
    finally:
        os.kill(pid, 18)


def test_exporter_is_not_ready_without_zookeeper_and_says_why(
    tmp_path: Path, own_zookeeper: ZooKeeperServer
) -> None:
    site = Site(tmp_path, own_zookeeper)
    try:
        with exported(site) as exporter:
            _outage(site, exporter)
    finally:
        site.close()


def _outage(site: Site, exporter: Exporter) -> None:
    soon(exporter, lambda: exporter.get("/health/ready")[0] == 200)
    site.zookeeper.kill()
    soon(exporter, lambda: exporter.get("/health/ready")[0] == 503)
    assert site.zookeeper.hosts in exporter.json("/health/ready")["error"]
    assert exporter.get("/health/live")[0] == 200
    assert exporter.get("/scale?queue=default")[0] == 503
    now = exporter.metrics()
    assert now["zkexec_fleet_up"] == 0
    assert now["zkexec_fleet_read_failures_total"] >= 1
    assert not [name for name in now if name.startswith("zkexec_fleet_queue_depth")]
    site.zookeeper.start()
    soon(exporter, lambda: sample(exporter, "zkexec_fleet_up") == 1)
    assert exporter.get("/health/ready")[0] == 200


def test_exporter_asks_zookeeper_no_more_often_when_more_scrape(
    site: Site, exporter: Exporter
) -> None:
    soon(exporter, lambda: exporter.get("/health/ready")[0] == 200)
    before = exporter.metrics()
    for _ in range(300):
        exporter.get("/metrics")
    after = exporter.metrics()
    seconds = (
        after["zkexec_fleet_last_read_timestamp_seconds"]
        - before["zkexec_fleet_last_read_timestamp_seconds"]
    )
    reads = after["zkexec_fleet_reads_total"] - before["zkexec_fleet_reads_total"]
    assert reads <= seconds / 1 + 1, "one per --interval, which is a second"


def test_exporter_writes_nothing(site: Site, exporter: Exporter) -> None:
    """A member of a tree changes its nodes; after many readings no transaction was added."""
    soon(exporter, lambda: exporter.metrics()["zkexec_fleet_reads_total"] >= 2)

    def tree(path: str) -> list[tuple[str, int, int]]:
        _, stat = site.kazoo.get(path)
        found = [(path, stat.version, stat.cversion)]
        for name in sorted(site.kazoo.get_children(path)):
            found += tree(f"{path}/{name}")
        return found

    before = tree(site.root)
    reads = exporter.metrics()["zkexec_fleet_reads_total"]
    soon(exporter, lambda: exporter.metrics()["zkexec_fleet_reads_total"] >= reads + 2)
    assert tree(site.root) == before


def test_exporter_ends_at_sigterm_and_shows_its_login_to_nobody(site: Site) -> None:
    login = "someone:a-password-to-look-for"
    one = Exporter(
        site.folder,
        hosts=site.zookeeper.hosts,
        root=site.root,
        AIRFLOW__ZK_EXECUTOR__DIGEST_AUTH=login,
    )
    one.start()
    assert login.encode() not in Path(f"/proc/{one.process.pid}/cmdline").read_bytes()
    assert login not in one.process.log.read_text()
    assert one.stop() == 0


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (("--http-port", "99999"), 2, "--http-port must be 0 to 65535, it is '99999'"),
        (("--interval", "often"), 2, "--interval must be 1 to 3600, it is 'often'"),
        (("--hosts", "not a server"), 2, "hosts"),
    ],
)
def test_exporter_refuses_an_option_with_a_sentence(
    site: Site, options: tuple[str, ...], code: int, text: str
) -> None:
    one = Exporter(site.folder, hosts=site.zookeeper.hosts, root=site.root, options=options)
    one.process.start()
    assert one.process.wait(60) == code
    assert text in one.process.log.read_text()


def test_exporter_says_that_its_port_is_taken(site: Site, exporter: Exporter) -> None:
    options = ("--http-port", str(exporter.port))
    one = Exporter(site.folder, hosts=site.zookeeper.hosts, root=site.root, options=options)
    one.process.start()
    assert one.process.wait(60) == 3
    assert f"cannot serve on 127.0.0.1:{exporter.port}" in one.process.log.read_text()
