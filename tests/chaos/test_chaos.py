# SPDX-License-Identifier: Apache-2.0
"""Every kind of fault once, on real processes. `make chaos` is the long run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from faults import KINDS, plan
from run_chaos import run

from devstack import Network

SEED = 1
SECONDS = 70.0
MEAN_GAP = 4.0


@pytest.mark.parametrize("seed", range(5))
def test_a_plan_has_every_kind_of_fault_and_is_the_same_for_the_same_seed(seed: int) -> None:
    planned = plan(seed, SECONDS, mean_gap=MEAN_GAP, network=True)
    assert {fault.kind for fault in planned} == {kind.name for kind in KINDS if kind.usual}
    assert planned == plan(seed, SECONDS, mean_gap=MEAN_GAP, network=True)


def test_every_dispatch_ends_once_and_starts_at_most_once_whatever_is_killed_or_cut_off(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    refusal = Network.refusal()
    verdict = run(
        folder,
        seed=SEED,
        dispatches=2000,
        seconds=SECONDS,
        mean_gap=MEAN_GAP,
        network=not refusal,
    )
    with capsys.disabled():
        print(f"\nwithout partitions: {refusal}" if refusal else "\nwith partitions")
        print(json.dumps(verdict.counts))
    assert not verdict.violations, f"evidence: {folder}\n" + "\n".join(verdict.violations)
    expected = {kind.name for kind in KINDS if kind.usual and not (refusal and kind.needs_network)}
    assert set(verdict.counts["faults"]) == expected
    shutil.rmtree(folder)
