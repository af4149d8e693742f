# SPDX-License-Identifier: Apache-2.0
"""Runs test suites, goes on after failures, and ends with a table, the slowest tests and totals.

    tools/run_suites.py              all suites
    tools/run_suites.py asan lint    only those
    tools/run_suites.py --list
    tools/run_suites.py --one-lane   one suite at a time, also where two could run side by side

Each line of output begins with its suite. Each suite leaves a JUnit file and a log in
.build/results/. A suite that could not run at all (the build broke, say) counts as one failure.
Exit code 0 only if nothing failed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from devstack.tables import table
from suite_report import Result, count, report
from suites import EXTRA, PYTHON, ROOT, SUITES, Command, Lane, Suite

RESULTS = ROOT / ".build" / "results"
# What computes shall not make what waits for a deadline late.
NICE = 15

# Seconds and signals: pytest takes the first to clean up; a shell that waits may not heed it.
ENDING = ((0.0, signal.SIGINT), (10.0, signal.SIGTERM), (20.0, signal.SIGKILL))

_output = threading.Lock()
_running: set[subprocess.Popen[bytes]] = set()
_interrupted = threading.Event()


def main() -> int:
    by_name = {suite.name: suite for suite in (*SUITES, *EXTRA)}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=", ".join(by_name))
    parser.add_argument("--list", action="store_true", help="say what there is")
    parser.add_argument("--one-lane", action="store_true", help="one suite at a time")
    options = parser.parse_args()
    if options.list:
        print(table(("suite", "what"), [(suite.name, suite.about) for suite in by_name.values()]))
        return 0
    unknown = sorted(set(options.suites) - set(by_name))
    if unknown:
        parser.error(f"no suite {', '.join(unknown)}; there are {', '.join(by_name)}")
    chosen = [by_name[name] for name in options.suites] or list(SUITES)
    RESULTS.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    started = time.monotonic()
    results = run_lanes(chosen, one_lane=options.one_lane)
    if _interrupted.is_set():
        print("interrupted", file=sys.stderr)
        return 130
    print(report(results, time.monotonic() - started, RESULTS), flush=True)
    return 1 if any(result.failed for result in results) else 0


def _interrupt(*_: object) -> None:
    """Ask what runs to end, and see that it does; no suite begins after it."""
    _interrupted.set()
    running = list(_running)
    for delay, number in ENDING:
        timer = threading.Timer(delay, _signal, (running, number))
        timer.daemon = True
        timer.start()


def _signal(processes: Iterable[subprocess.Popen[bytes]], number: int) -> None:
    for process in processes:
        # One that has ended is no longer among these, and its id may be another's.
        if process in _running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)


def run_lanes(chosen: list[Suite], *, one_lane: bool) -> list[Result]:
    """Run the suites of each lane one after the other; the results in the order of the suites."""
    results: dict[str, Result] = {}
    if one_lane:
        lanes = [chosen]
    else:
        lanes = [[suite for suite in chosen if suite.lane is lane] for lane in Lane]
    lanes = [lane for lane in lanes if lane]

    def run_lane(suites: Iterable[Suite]) -> None:
        for suite in suites:
            if _interrupted.is_set():
                return
            # Something has to be polite only where there is somebody to be polite to.
            nice = NICE if len(lanes) > 1 and suite.lane is Lane.COMPUTES else 0
            results[suite.name] = run(suite, nice)

    threads = [threading.Thread(target=run_lane, args=(lane,)) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[suite.name] for suite in chosen if suite.name in results]


def run(suite: Suite, nice: int) -> Result:
    """Run a suite with its output on ours and in its log."""
    junit = RESULTS / f"{suite.name}.xml"
    junit.unlink(missing_ok=True)
    started = last = time.monotonic()
    code, cpu_seconds = 0, 0.0
    command: Command = []
    with (RESULTS / f"{suite.name}.log").open("wb") as log:
        for command in suite.commands(junit):
            last = time.monotonic()
            emit(suite, f"=== {' '.join(command)}\n".encode(), log)
            code, used = run_command(suite, command, nice, log)
            cpu_seconds += used
            if code:
                break
    result = count(suite.name, junit)
    result.seconds = time.monotonic() - started
    result.build_seconds = last - started
    result.cpu_seconds = cpu_seconds
    if code and not result.failed:
        result.failed = 1
        result.broken = result.broken or f"ended with code {code}: {' '.join(command)}"
    return result


def run_command(suite: Suite, command: Command, nice: int, log: BinaryIO) -> tuple[int, float]:
    """Exit code, and the CPU seconds of the command and of all that it waited for."""
    environment = {
        **os.environ,
        "CCACHE_DIR": str(ROOT / ".build" / "ccache"),
        "PATH": f"{PYTHON.parent}:{os.environ.get('PATH', os.defpath)}",
        "PYTHONUNBUFFERED": "1",
        "ZKEXEC_TEST_PORTS": suite.lane.ports,
    }
    try:
        process = subprocess.Popen(
            ["nice", "-n", str(nice), *command],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            # Sessions have their shares of time, and a niceness of their own.
            start_new_session=True,
        )
    except OSError as error:
        emit(suite, f"{command[0]}: {error.strerror}\n".encode(), log)
        return 127, 0
    assert process.stdout is not None
    _running.add(process)
    if _interrupted.is_set():
        # Whoever asked what runs to end may have looked before this did.
        _interrupt()
    _be_nice_as_session(process.pid, nice)
    for line in process.stdout:
        emit(suite, line, log)
    _running.discard(process)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, used.ru_utime + used.ru_stime


def _be_nice_as_session(pid: int, nice: int) -> None:
    """Niceness of the session against others, where the kernel gives each session its share."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))


def emit(suite: Suite, line: bytes, log: BinaryIO) -> None:
    log.write(line)
    log.flush()
    with _output:
        sys.stdout.buffer.write(f"{suite.name:12} ".encode() + line)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
