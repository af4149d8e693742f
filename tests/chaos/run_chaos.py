# SPDX-License-Identifier: Apache-2.0
"""Runs dispatches through real workers, schedulers and a ZooKeeper ensemble while these are killed,
stopped and cut off, and checks that every promise was kept.

    tests/chaos/run_chaos.py --seed 7 --dispatches 20000 --minutes 5

The seed comes first in the output; it decides which faults come when and what the dispatches do,
not what the machine makes of it. Ends with 1 on a violation, with the evidence in the folder named.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "tools"), str(Path(__file__).parent)]

from faults import Planned, plan  # noqa: E402
from history import Fault, History, Verdict, judge  # noqa: E402
from rig import Rig, Undo  # noqa: E402

from devstack import Network, become_subreaper, kill_strays, wait_until  # noqa: E402

# For what is under way when the last fault is over: session timeouts, graces, restarts.
SETTLE_SECONDS = 120.0


class Faults:
    """Carries a plan out, and remembers when each fault was there."""

    def __init__(self, rig: Rig, planned: list[Planned]) -> None:
        self.seen: list[Fault] = []
        self._rig = rig
        self._start = time.monotonic()
        self._to_come = sorted(planned, key=lambda one: one.at)
        self._present: list[tuple[float, float, str, str, Undo]] = []

    def turn(self) -> bool:
        """Begin and undo what is due. Returns whether all is over."""
        now = time.monotonic()
        self._rig.revive()
        self._rig.done()  # raises if a scheduler has failed by itself
        for fault in list(self._present):
            if fault[0] <= now:
                self._undo(fault)
        if self._to_come and now - self._start >= self._to_come[0].at:
            self._begin(self._to_come[0])
        return not self._to_come and not self._present

    def _begin(self, fault: Planned) -> None:
        begin = time.monotonic()
        inflicted = self._rig.inflict(fault.kind, fault.pick)
        if inflicted is None:
            return  # everything it could hurt is hurt: as soon as that is over
        self._to_come.pop(0)
        target, undo = inflicted
        self._present.append((begin + fault.seconds, begin, fault.kind, target, undo))
        print(
            f"{begin - self._start:7.1f}  {fault.kind} {target} {fault.seconds:.1f} s", flush=True
        )

    def _undo(self, fault: tuple[float, float, str, str, Undo]) -> None:
        _, begin, kind, target, undo = fault
        undo()
        self._present.remove(fault)
        self.seen.append(Fault(kind, begin, time.monotonic(), target))


def run(
    folder: Path,
    *,
    seed: int,
    dispatches: int,
    seconds: float,
    mean_gap: float,
    network: bool,
    unusual: bool = False,
) -> Verdict:
    """One run; folder must be new. Raises DevStackError if something could not be started."""
    started = time.monotonic()
    with Network() if network else _nothing() as net:
        rig = Rig(folder, seed=seed, dispatches=dispatches, seconds=seconds, network=net)
        with rig:
            planned = plan(seed, seconds, mean_gap=mean_gap, network=network, unusual=unusual)
            faults = Faults(rig, planned)
            wait_until(faults.turn, "the faults", timeout=seconds * 3 + 300)
            rig.wait_done(SETTLE_SECONDS)
            leftovers = rig.leftovers()
    verdict = judge(History.read(folder, faults.seen))
    verdict.violations += [f"left in ZooKeeper: {path}" for path in leftovers]
    verdict.counts.update(
        seed=seed,
        put_back=_count(folder, "s*.log", "its run goes back to its queue"),
        ambiguous_batches=_count(folder, "s*.log", "a batch with a lost reply was applied"),
        violations=len(verdict.violations),
        seconds=round(time.monotonic() - started, 1),
    )
    return verdict


class _nothing:
    """Stands for a network where there is none."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        pass


def _count(folder: Path, pattern: str, text: str) -> int:
    return sum(file.read_text(errors="replace").count(text) for file in folder.glob(pattern))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    parser.add_argument("--dispatches", type=int, default=20_000)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--gap", type=float, default=2.0, help="seconds between faults, on average")
    parser.add_argument("--folder", type=Path, default=REPOSITORY / ".build" / "chaos")
    parser.add_argument(
        "--unusual", action="store_true", help="also adopt while the dead scheduler's session lives"
    )
    parser.add_argument("--no-network", action="store_true", help="no partitions")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    refusal = "switched off" if options.no_network else Network.refusal()
    if refusal:
        print(f"without partitions: {refusal}", flush=True)
    become_subreaper()
    folder = options.folder / str(options.seed)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        verdict = run(
            folder,
            seed=options.seed,
            dispatches=options.dispatches,
            seconds=options.minutes * 60,
            mean_gap=options.gap,
            network=not refusal,
            unusual=options.unusual,
        )
    finally:
        strays = kill_strays()
    print(json.dumps(verdict.counts))
    for line in verdict.violations[:100]:
        print(f"VIOLATION {line}")
    if verdict.violations:
        print(f"evidence: {folder}")
        return 1
    shutil.rmtree(folder)
    if strays:
        print("left behind:", *strays, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
