# SPDX-License-Identifier: Apache-2.0
"""An Airflow that runs the DAG files of this folder some times, and changes what they read.

Its DAG folder lies below a folder of installed packages, as in images whose DAGs are below Python's
prefix: nothing of it may be taken for installed.

Threads: the test's. Errors: DevStackError.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import outcome
from outcome import NEW, OLD, Seen

from devstack import AirflowStack, Child, ZkWorker
from devstack.metrics import counted
from devstack.processes import is_running, wait_until

HERE = Path(__file__).parent
HAZARDS = sorted(path.stem for path in (HERE / "dags").glob("*.py") if "DAG(" in path.read_text())
TASKS_OF_A_ROUND = 2 * len(HAZARDS)
RUN_TIMEOUT = 240
# Warm processes come when they are wanted, and nobody waits for them: so many rounds at most until
# every task is forked from one.
ROUNDS_MAX = 6
# Older than any bytecode, so that an edit of the same size and second is seen as one.
AGE_SECONDS = 1000

SITE = """
import os
import site

site.PREFIXES.append(os.path.join(os.environ["AIRFLOW_HOME"], "prefix"))
site.addsitedir(os.environ["HAZARDS_PACKAGES"])
"""


@dataclass
class Outcome:
    """What all tasks of one Airflow saw, and how they ended."""

    seen: list[Seen] = field(default_factory=list)
    # By hazard and moment.
    states: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    rounds: dict[str, int] = field(default_factory=dict)
    # Of native tasks, by moment: whether a round had none that was not forked from a warm process.
    all_warm: dict[str, bool] = field(default_factory=dict)
    forked_from_warm: float = 0
    hang: Hang | None = None
    worker_log: str = ""

    def of(self, hazard: str) -> list[Seen]:
        return [one for one in self.seen if one.hazard == hazard]


@dataclass
class Hang:
    """What became of two tasks whose parse hangs."""

    kill: subprocess.CompletedProcess[str]
    killed: str  # the state of the one that was killed
    drained: int  # the exit code of the worker, which was drained while the other hung


class Lab:
    """One stack and what belongs to it; use as a context. sockets is where servers.py listens."""

    def __init__(
        self,
        home: Path,
        *,
        sockets: Path,
        client: Path,
        connection: str,
        database: str,
        executor: str = "LocalExecutor",
        options: Mapping[str, str] | None = None,
    ) -> None:
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self._packages = home.resolve() / "prefix" / "lib" / version / "site-packages"
        self._start = home.resolve() / "start"
        dags = self._packages / "dags"
        self.stack = AirflowStack(
            home,
            database=database,
            executor=executor,
            parallelism=16,
            options={
                "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
                # Whose file ends its process is not tried again for minutes.
                "AIRFLOW__WORKERS__MISSING_DAG_RETRIES": "0",
                "HAZARDS_SOCKETS": str(sockets),
                "HAZARDS_DATABASE": connection,
                "HAZARDS_PACKAGES": str(self._packages),
                "PYTHONPATH": str(self._start),
                **(options or {}),
            },
        )
        # As users have it: bytecode is written, and may be out of date.
        self.stack.env.pop("PYTHONDONTWRITEBYTECODE", None)
        self.stack.dags = dags
        self.worker: ZkWorker | None = None
        if executor != "LocalExecutor":
            self.worker = ZkWorker(
                home,
                self.stack.env,
                name="localhost",
                slots=16,
                http_port=self.stack.log_port,
                options=("--drain-timeout", "3", "--kill-grace", "2"),
            )
        self._client_library = client
        self._edited_at = sys.maxsize

    @property
    def _lines(self) -> list[str]:
        path = self.stack.home / "seen.jsonl"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def _needs(self) -> list[Child]:
        return [*self.stack.children(), *([self.worker.process] if self.worker else [])]

    def __enter__(self) -> Lab:
        self._write_files()
        self.stack.launch()
        if self.worker:
            self.worker.start()
        self.stack.wait_healthy()
        self.stack.wait_dags(HAZARDS)
        return self

    def __exit__(self, *_: object) -> None:
        if self.worker:
            self.worker.stop()
        self.stack.stop()

    def _write_files(self) -> None:
        home, dags = self.stack.home, self.stack.dags
        for folder in (self._packages, self._start, home / "data", home / "armed"):
            folder.mkdir(parents=True)
        (self._start / "sitecustomize.py").write_text(SITE)
        shutil.copytree(HERE / "installed", self._packages, dirs_exist_ok=True)
        shutil.copytree(HERE / "dags", dags, ignore=shutil.ignore_patterns("__pycache__"))
        for moment in (OLD, NEW):
            # Not in the DAG folder, where Airflow takes a link to a folder beside it for a loop.
            release = home / _word(moment)
            release.mkdir()
            write_aged(release / "values.py", f"VALUE = {_word(moment)!r}\n")
        self._link(OLD)
        shutil.copy(self._client_library, home / "data" / "client.so")
        self._write_data(OLD)
        for path in dags.glob("*.py"):
            write_aged(path, path.read_text())

    def _write_data(self, moment: str) -> None:
        import pyarrow  # noqa: PLC0415
        import pyarrow.parquet  # noqa: PLC0415

        data = self.stack.home / "data"
        (data / "words.txt").write_text(_word(moment))
        (data / "words.csv").write_text(f"value\n{_word(moment)}\n")
        pyarrow.parquet.write_table(
            pyarrow.table({"value": [_word(moment)]}), data / "words.parquet"
        )
        pyarrow.parquet.write_table(
            pyarrow.table({"n": range(100_000)}), data / "constant.parquet", row_group_size=10_000
        )

    def _link(self, moment: str) -> None:
        new = self.stack.dags / "linked-new"
        new.symlink_to(self.stack.home / _word(moment))
        new.rename(self.stack.dags / "linked")

    def edit(self) -> None:
        """Change everything that the files read."""
        self._edited_at = len(self._lines)
        dags = self.stack.dags
        _replace_in_place(dags / "edited_values.py")
        _replace_in_place(dags / "file_edited.py")
        self._link(NEW)
        (dags / "deleted_values.py").unlink()
        (self._start / "hazards_shadowed.py").write_text('VALUE = "new"\n')
        self._write_data(NEW)
        (self.stack.home / "armed" / "exits_at_top").touch()

    def run(self, rounds: int) -> Outcome:
        """Run everything before and after the edits, so often, or until every task is warm."""
        found = Outcome()
        for moment in (OLD, NEW):
            self._run_rounds(moment, rounds, found)
            if moment == OLD:
                self.edit()
        lines = self._lines
        when = [OLD if number < self._edited_at else NEW for number, _ in enumerate(lines)]
        found.seen = outcome.read(lines, when)
        for one in found.of("exit_at_top"):
            one.values["left"] = [path for path in one.values["folders"] if os.path.exists(path)]
            for path in one.values["left"]:
                shutil.rmtree(path)
        for one in found.of("child_process"):
            one.values["left"] = is_running(one.values["child"])
            if one.values["left"]:
                os.kill(one.values["child"], signal.SIGKILL)
        if self.worker:
            warm = counted(self.worker.http, "zkexec_worker_forked_total", 'from="warm"')
            found.forked_from_warm = warm
            found.worker_log = self.worker.output()
        return found

    def _run_rounds(self, moment: str, rounds: int, found: Outcome) -> None:
        for number in range(1, (rounds or ROUNDS_MAX) + 1):
            found.rounds[moment] = number
            not_warm = self._forked_otherwise()
            self._run_round(moment, found)
            found.all_warm[moment] = self._forked_otherwise() == not_warm
            if not rounds and found.all_warm[moment]:
                break

    def _forked_otherwise(self) -> float:
        if not self.worker:
            return 0
        every = counted(self.worker.http, "zkexec_worker_forked_total", "from=")
        return every - counted(self.worker.http, "zkexec_worker_forked_total", 'from="warm"')

    def _run_round(self, moment: str, found: Outcome) -> None:
        client = self.stack.client
        runs = {(dag_id, client.trigger(dag_id)) for dag_id in HAZARDS}
        client.wait_runs(runs, timeout=RUN_TIMEOUT, needs=self._needs)
        for task in client.tasks():
            if (task.dag_id, task.run_id) in runs:
                moments = found.states.setdefault(task.dag_id, {})
                moments.setdefault(moment, set()).add(task.state)
        # What is done at exit is done after Airflow knows how the task has ended.
        pids = [one.pid for one in outcome.read(self._lines, [moment] * len(self._lines))]
        wait_until(
            lambda: not any(map(is_running, pids)), "the processes of tasks to end", timeout=60
        )

    def hang(self) -> Hang:
        """Let two parses hang; kill one task, and drain the worker while the other hangs."""
        assert self.worker is not None
        (self.stack.home / "armed" / "hangs_at_top").touch()
        run = self.stack.client.trigger("hangs_at_top")
        before = len(self._lines)
        wait_until(
            lambda: sum('"connects"' in line for line in self._lines[before:]) == 2,
            "two parses to hang",
            timeout=60,
            needs=self._needs,
        )
        kill = subprocess.run(
            [
                *(Path(sys.executable).parent / "airflow", "zk", "kill", "--map-index", "0"),
                *("--ti", "hangs_at_top", "look", run),
            ],
            env=self.stack.env,
            capture_output=True,
            text=True,
            check=False,
        )
        ended = self.stack.client.wait_task(
            "hangs_at_top", run, "look", ["failed", "success"], timeout=60, map_index=0
        )
        self.worker.drain()
        return Hang(kill, ended.state, self.worker.process.wait(60))


def write_aged(path: Path, text: str) -> None:
    """Write a file that is older than its bytecode will be."""
    path.write_text(text)
    then = path.stat().st_mtime - AGE_SECONDS
    os.utime(path, (then, then))


def _word(moment: str) -> str:
    return "old" if moment == OLD else "new"


def _replace_in_place(path: Path) -> None:
    """As an editor or ``cat >`` does: the same file, of the same size."""
    text = path.read_text().replace('VALUE = "old"', 'VALUE = "new"')
    with path.open("r+") as file:
        file.write(text)
