# SPDX-License-Identifier: Apache-2.0
"""The units in packaging/systemd, as systemd itself reads them. None is started: that needs a
systemd that runs."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from zk_executor.get_provider_info import DEFAULTS

FOLDER = Path(__file__).resolve().parents[2] / "packaging" / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))


def service(unit: Path) -> dict[str, str]:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(unit.read_text())
    return dict(parser["Service"])


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("there is no systemd-analyze")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def runnable(unit: Path, folder: Path, extra: str = "") -> Path:
    """The same unit with a program that is there."""
    text = unit.read_text().replace("/opt/airflow/bin/airflow", "/bin/true")
    assert "/bin/true" in text
    copy = folder / unit.name
    copy.write_text(text.replace("[Install]", f"{extra}\n[Install]"))
    return copy


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_understands_every_line_of_a_unit(unit: Path, tmp_path: Path) -> None:
    done = analyze("verify", runnable(unit, tmp_path))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_misspelt_line_is_noticed(tmp_path: Path) -> None:
    done = analyze("verify", runnable(UNITS[0], tmp_path, "KilMode=mixed"))
    assert "KilMode" in done.stdout + done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_finds_a_unit_hardened(unit: Path, tmp_path: Path) -> None:
    """Its threshold is of tenths: 5.0 is what it calls medium, and a bare service has 9.6."""
    done = analyze("security", "--offline=true", "--threshold=50", runnable(unit, tmp_path))
    assert done.returncode == 0, done.stdout


def test_worker_drains_within_the_time_that_the_unit_gives() -> None:
    unit = service(FOLDER / "zk-worker.service")
    assert unit["KillMode"] == "mixed", "tasks must not get the worker's SIGTERM"
    minutes = int(unit["TimeoutStopSec"].removesuffix("min"))
    assert minutes * 60 > float(DEFAULTS["drain_timeout"]) + float(DEFAULTS["kill_grace"])
    assert unit["Delegate"] == "yes"
    assert int(unit["LimitNOFILE"]) >= 65536
    assert unit["RestartPreventExitStatus"] == "2"


def test_no_secret_stands_in_a_unit() -> None:
    for unit in UNITS:
        for line in unit.read_text().splitlines():
            if "SECRET" in line and not line.startswith("#"):
                assert line.endswith("JWT_SECRET="), line
