# SPDX-License-Identifier: Apache-2.0
"""Alerts: each fires for its fault and resolves when that is over, as promtool sees it; each has a
page; and rules and dashboards name only metrics that there are."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from rendering import CHART, ROOT, render

RULES = CHART / "files" / "alerts.yaml"
DASHBOARDS = sorted(CHART.glob("files/dashboards/*.json"))
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for group in yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]
}


@dataclass(frozen=True)
class Fault:
    """Series of one value a minute; the alert fires at `fires` and neither at 0m nor at `over`."""

    alert: str
    series: dict[str, str]
    fires: str
    over: str


API = "zkexec_worker_api_request_duration_seconds_count"
REFUSED = "zkexec_worker_queue_entries_refused_total"
WORKER = '{instance="w1"}'
FAULTS = [
    Fault(
        "ZkExecutorNoWorkerForQueue",
        {
            'zkexec_fleet_queue_depth{queue="q"}': "3x60",
            'zkexec_fleet_queue_workers{queue="q"}': "1 0x9 1x50",
        },
        "5m",
        "15m",
    ),
    Fault(
        "ZkExecutorOldestEntryTooOld",
        {'zkexec_fleet_queue_oldest_age_seconds{queue="q"}': "10 600x9 5x50"},
        "4m",
        "15m",
    ),
    Fault(
        "ZkExecutorWorkerNotReady", {f"zkexec_worker_ready{WORKER}": "1 0x14 1x50"}, "12m", "20m"
    ),
    Fault(
        "ZkExecutorSessionLost",
        {'zkexec_worker_zookeeper_session_state{instance="w1",state="connected"}': "1 0x9 1x50"},
        "4m",
        "15m",
    ),
    Fault(
        "ZkExecutorResultsStuck",
        {
            f"zkexec_worker_results_waiting{WORKER}": "0 2x19 0x50",
            f"zkexec_worker_ready{WORKER}": "1x70",
        },
        "13m",
        "30m",
    ),
    Fault(
        "ZkExecutorResultsStuck",
        {"zkexec_fleet_results_waiting": "0 2x19 0x50", "zkexec_fleet_schedulers": "1x70"},
        "13m",
        "30m",
    ),
    Fault(
        "ZkExecutorEntriesRefused",
        {
            f'{REFUSED}{{instance="w1",reason="other_secret"}}': "0 1x60",
        },
        "3m",
        "30m",
    ),
    Fault(
        "ZkExecutorFallbackSupervisor",
        {'zkexec_worker_supervised_total{by="airflow",instance="w1",reason="proxy"}': "0 1x60"},
        "3m",
        "30m",
    ),
    Fault(
        "ZkExecutorApiErrors",
        {
            f'{API}{{instance="w1",kind="run",status="2xx"}}': "0+60x60",
            f'{API}{{instance="w1",kind="run",status="none"}}': "0+30x15 450x45",
        },
        "12m",
        "40m",
    ),
    Fault(
        "ZkExecutorJournalFails",
        {f"zkexec_worker_journal_failures_total{WORKER}": "0 1x60"},
        "3m",
        "30m",
    ),
    Fault(
        "ZkExecutorZygoteDies",
        {f"zkexec_worker_zygote_deaths_total{WORKER}": "0 1x60"},
        "3m",
        "30m",
    ),
    Fault(
        "ZkExecutorRunsWithoutClaim",
        {"zkexec_fleet_dispatches_without_claim": "0 1x9 0x50"},
        "8m",
        "15m",
    ),
    Fault(
        "ZkExecutorCommandsNotObeyed",
        {"zkexec_fleet_command_oldest_age_seconds": "0 90x9 0x50"},
        "4m",
        "15m",
    ),
    Fault(
        "ZkExecutorUnrecognizedZnodes",
        {"zkexec_fleet_unrecognized_znodes": "0 1x29 0x50"},
        "20m",
        "35m",
    ),
    Fault("ZkExecutorExporterBlind", {"zkexec_fleet_up": "1 0x9 1x50"}, "8m", "15m"),
    Fault("ZkExecutorExporterBlind", {"zkexec_fleet_up": "1 _x19 1x50"}, "15m", "30m"),
]
# What looks like a fault and is none.
NO_FAULTS = [
    Fault(
        "ZkExecutorFallbackSupervisor",
        {'zkexec_worker_supervised_total{by="airflow",instance="w1",reason="kind"}': "0+5x60"},
        "10m",
        "30m",
    ),
    Fault(
        "ZkExecutorNoWorkerForQueue",
        {
            'zkexec_fleet_queue_depth{queue="q"}': "0x60",
            'zkexec_fleet_queue_workers{queue="q"}': "0x60",
        },
        "10m",
        "30m",
    ),
    Fault(
        "ZkExecutorResultsStuck",
        {f"zkexec_worker_results_waiting{WORKER}": "2x60", f"zkexec_worker_ready{WORKER}": "0x60"},
        "20m",
        "40m",
    ),
]


def firing(folder: Path, fault: Fault, moment: str) -> bool:
    """Whether promtool sees the alert fire then."""
    test = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": name, "values": values} for name, values in fault.series.items()
                ],
                # Expecting none fails with what there is.
                "alert_rule_test": [
                    {"eval_time": moment, "alertname": fault.alert, "exp_alerts": []}
                ],
            }
        ],
    }
    file = folder / "test.yaml"
    file.write_text(yaml.safe_dump(test))
    done = subprocess.run(
        ["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    text = done.stdout + done.stderr
    assert done.returncode == 0 or f'alertname="{fault.alert}"' in text, text
    return done.returncode != 0


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.alert)
def test_alert_fires_for_its_fault_and_resolves(tmp_path: Path, fault: Fault) -> None:
    assert not firing(tmp_path, fault, "0m")
    assert firing(tmp_path, fault, fault.fires)
    assert not firing(tmp_path, fault, fault.over)


@pytest.mark.parametrize("fault", NO_FAULTS, ids=lambda fault: fault.alert)
def test_alert_does_not_fire_for_what_is_no_fault(tmp_path: Path, fault: Fault) -> None:
    assert not firing(tmp_path, fault, fault.fires)
    assert not firing(tmp_path, fault, fault.over)


def test_every_alert_has_a_fault() -> None:
    assert {fault.alert for fault in FAULTS} == set(ALERTS)


def test_promtool_accepts_the_file() -> None:
    subprocess.run(["promtool", "check", "rules", str(RULES)], check=True, capture_output=True)


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_a_page_that_says_what_to_do(alert: str) -> None:
    page = (ROOT / ALERTS[alert]["annotations"]["runbook_url"]).read_text()
    assert page.startswith(f"# {alert}\n")
    for heading in ("## What to look at", "## What to do"):
        assert heading in page


def test_every_page_belongs_to_an_alert() -> None:
    named = {ROOT / rule["annotations"]["runbook_url"] for rule in ALERTS.values()}
    assert set((ROOT / "docs" / "runbooks").glob("*.md")) == named


def expressions() -> dict[str, str]:
    """Every expression of a rule or a panel, by where it is."""
    found = {name: rule["expr"] for name, rule in ALERTS.items()}
    for file in DASHBOARDS:
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel["targets"]:
                found[f"{file.name}: {panel['title']} {target['refId']}"] = target["expr"]
    return found


@pytest.mark.parametrize("where", expressions())
def test_expression_names_only_metrics_that_there_are(where: str) -> None:
    worker = set(re.findall(r'"(zkexec_worker_\w+)"', (ROOT / "worker" / "metrics.cc").read_text()))
    text = (ROOT / "python/zk_executor/exporter/metrics.py").read_text()
    fleet = set(re.findall(r'"(zkexec_fleet_\w+)"', text))
    fleet |= {f"{name}_total" for name in re.findall(r'_counter\(\s*"(\w+)"', text)}
    named = set(re.findall(r"\bzkexec_\w+", expressions()[where]))
    assert named
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in named} <= worker | fleet


def test_panels_have_ids_titles_and_places_of_their_own() -> None:
    uids = set()
    for file in DASHBOARDS:
        board = json.loads(file.read_text())
        uids.add(board["uid"])
        for key in ("id", "title"):
            values = [panel[key] for panel in board["panels"]]
            assert len(values) == len(set(values)), (file.name, key)
        places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in board["panels"]]
        assert len(places) == len(set(places))
    assert len(uids) == len(DASHBOARDS) == 3


def test_chart_carries_the_rules_and_the_dashboards_as_they_are() -> None:
    manifests = render(
        {
            "monitoring": {
                "prometheusRule": {"enabled": True, "runbookBaseUrl": "https://wiki/x/"},
                "dashboards": {"enabled": True},
            }
        }
    )
    rules = [
        rule
        for group in manifests.one("PrometheusRule")["spec"]["groups"]
        for rule in group["rules"]
    ]
    assert {rule["alert"]: rule["expr"] for rule in rules} == {
        name: rule["expr"] for name, rule in ALERTS.items()
    }
    assert all(rule["annotations"]["runbook_url"].startswith("https://wiki/x/") for rule in rules)
    assert "{{ $labels.queue }}" in rules[0]["annotations"]["summary"]
    data = manifests.one("ConfigMap", "-dashboards")["data"]
    assert {name: json.loads(text) for name, text in data.items()} == {
        file.name: json.loads(file.read_text()) for file in DASHBOARDS
    }
