# SPDX-License-Identifier: Apache-2.0
"""Debian's Prometheus scrapes real workers and a real exporter: every expression of the rules and
dashboards has data, and alerts fire for faults that are caused, and resolve.

How long a fault must last before an alert fires (``for``), and over how long counters are watched,
is promtool's to test (tests/chart/test_alerts.py); here these are seconds.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_guardian import Site

from devstack import ZkWorker, ZooKeeperServer, wait_until
from devstack.exporter import Exporter
from devstack.prometheus import PrometheusServer

FILES = Path(__file__).resolve().parents[2] / "helm" / "zk-executor" / "files"
RULES: dict[str, Any] = yaml.safe_load((FILES / "alerts.yaml").read_text())
TASK = "touch {folder}/started-{name}; while [ ! -e {folder}/go ]; do sleep 0.05; done"
# Of a worker without Airflow: its zygote supervises everything, and asks no API server.
NOT_HERE = re.compile(r"supervised_total|api_request|warm_|tasks_memory")
WINDOW = "[20s]"


def quick(rules: dict[str, Any]) -> dict[str, Any]:
    """The same rules, for faults of seconds."""
    text = json.dumps(rules)
    text = re.sub(r'"for": "\w+"', '"for": "0s"', text)
    return json.loads(re.sub(r"\[\d+m\]", WINDOW, text))


class Watched:
    """A worker, an exporter and a Prometheus on a ZooKeeper of their own."""

    def __init__(self, folder: Path, zookeeper: ZooKeeperServer) -> None:
        self.site = Site(folder, zookeeper)
        self.exporter = Exporter(folder, hosts=zookeeper.hosts, root=self.site.root)
        self.exporter.start()
        self.prometheus: PrometheusServer | None = None

    def watch(self, *workers: ZkWorker) -> PrometheusServer:
        rules = self.site.folder / "alerts.json"
        rules.write_text(json.dumps(quick(RULES)))
        self.prometheus = PrometheusServer(
            self.site.folder / "prometheus",
            targets={
                "exporter": [f"127.0.0.1:{self.exporter.port}"],
                "worker": [worker.http for worker in workers],
            },
            rules=rules,
        )
        self.prometheus.start()
        return self.prometheus

    def fires(self, alert: str) -> None:
        self._until(lambda firing: f"ZkExecutor{alert}" in firing, f"{alert} to fire")

    def resolves(self, alert: str) -> None:
        self._until(lambda firing: f"ZkExecutor{alert}" not in firing, f"{alert} to resolve")

    def _until(self, condition: Any, what: str) -> None:
        prometheus = self.prometheus
        assert prometheus is not None
        wait_until(
            lambda: condition(prometheus.firing()),
            what,
            timeout=90,
            needs=[prometheus.process],
            describe=lambda: f"firing: {sorted(prometheus.firing())}",
        )

    def close(self) -> None:
        if self.prometheus is not None:
            self.prometheus.stop()
        self.exporter.stop()
        self.site.close()


@pytest.fixture
def watched(tmp_path: Path, own_zookeeper: ZooKeeperServer) -> Iterator[Watched]:
    if not shutil.which("prometheus"):
        pytest.skip("there is no prometheus; tools/bootstrap.sh --test installs it")
    one = Watched(tmp_path, own_zookeeper)
    yield one
    one.close()


def panels() -> dict[str, str]:
    """Every expression of a dashboard, with all its variables at "All"."""
    found = {}
    for file in sorted(FILES.glob("dashboards/*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel["targets"]:
                expression = re.sub(r"\$(queue|instance)\b", ".*", target["expr"])
                found[f"{file.stem}: {panel['title']} {target['refId']}"] = expression
    return found


def test_every_panel_and_every_series_of_a_rule_has_data_of_a_real_fleet(watched: Watched) -> None:
    site = watched.site
    worker = site.worker()
    prometheus = watched.watch(worker)
    for name in ("d1", "d2"):
        site.place(name, TASK.format(folder=site.folder, name=name))
    wait_until((site.folder / "started-d2").exists, "the tasks", timeout=60)
    (site.folder / "go").touch()
    assert site.event("d1").outcome == site.event("d2").outcome == "success"
    site.place("d3", "true")

    def without_data() -> list[str]:
        return [
            where
            for where, expression in panels().items()
            if not NOT_HERE.search(expression) and not prometheus.query(expression)
        ]

    wait_until(
        lambda: not without_data(),
        "data for every panel",
        timeout=90,
        describe=lambda: str(without_data()),
    )
    for group in quick(RULES)["groups"]:
        for rule in group["rules"]:
            prometheus.query(rule["expr"])  # is understood
            for metric in set(re.findall(r"\bzkexec_\w+", rule["expr"])):
                assert NOT_HERE.search(metric) or prometheus.query(metric), metric
    assert site.event("d3").outcome == "success"
    wait_until(lambda: not prometheus.firing(), "nothing to fire", timeout=60)


def test_alerts_fire_for_faults_that_are_caused_and_resolve(watched: Watched) -> None:
    site = watched.site
    (site.folder / "no-folder").touch()
    worker = site.worker(journal_dir=str(site.folder / "no-folder" / "journal"))
    watched.watch(worker)
    base = f"{site.root}/default"

    # A queue that nobody serves.
    served = watched.exporter.json("/fleet")
    assert served["unrecognized"] == 0
    entry = f"{base}/queues/lonely/0/7fffffff-000000000001-x1"
    site.kazoo.create(entry, makepath=True)
    watched.fires("NoWorkerForQueue")
    # Its name says that it was placed in 1970.
    watched.fires("OldestEntryTooOld")
    site.kazoo.delete(f"{base}/queues/lonely", recursive=True)
    watched.resolves("NoWorkerForQueue")
    watched.resolves("OldestEntryTooOld")

    # Something that is not ours, a command that nobody obeys.
    site.kazoo.create(f"{base}/somebody-else")
    site.kazoo.create(f"{base}/control/gone/command-0000000000", makepath=True)
    watched.fires("UnrecognizedZnodes")
    site.kazoo.delete(f"{base}/somebody-else")
    watched.resolves("UnrecognizedZnodes")

    # An entry that cannot be read.
    site.kazoo.create(f"{base}/queues/default/0/7fffffff-000000000001-x1", b"\xff nothing")
    watched.fires("EntriesRefused")
    site.kazoo.delete(f"{base}/queues/default/0/7fffffff-000000000001-x1")
    watched.resolves("EntriesRefused")

    # The death of a worker's Python process.
    os.kill(_zygote_of(worker), signal.SIGKILL)
    watched.fires("ZygoteDies")
    watched.resolves("ZygoteDies")

    # The command is older than a minute by now, or will be.
    watched.fires("CommandsNotObeyed")
    site.kazoo.delete(f"{base}/control/gone", recursive=True)
    watched.resolves("CommandsNotObeyed")

    # A scheduler that does not collect.
    site.place("d1", "true")
    watched.fires("ResultsStuck")
    assert site.event("d1").outcome == "success"
    watched.resolves("ResultsStuck")

    # A run without a claim: the worker, stopped, does not claim it again.
    site.place("d2", TASK.format(folder=site.folder, name="d2"))
    wait_until((site.folder / "started-d2").exists, "the task", timeout=60)
    pid = worker.worker_pid
    os.kill(pid, signal.SIGSTOP)
    try:
        (claim,) = (path for path in _below(site, f"{base}/running") if "/claim-" in path)
        site.kazoo.delete(claim)
        watched.fires("RunsWithoutClaim")
    finally:
        os.kill(pid, signal.SIGCONT)
    watched.resolves("RunsWithoutClaim")

    # ZooKeeper away, and a result that cannot be kept: the folder of the journal is a file.
    site.zookeeper.kill()
    for alert in ("SessionLost", "WorkerNotReady", "ExporterBlind"):
        watched.fires(alert)
    (site.folder / "go").touch()
    watched.fires("JournalFails")
    site.zookeeper.start()
    for alert in ("SessionLost", "WorkerNotReady", "ExporterBlind", "JournalFails"):
        watched.resolves(alert)


def _below(site: Site, path: str) -> Iterator[str]:
    for name in site.kazoo.get_children(path):
        yield f"{path}/{name}"
        yield from _below(site, f"{path}/{name}")


def _zygote_of(worker: ZkWorker) -> int:
    pid = worker.worker_pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0])
