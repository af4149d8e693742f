# SPDX-License-Identifier: Apache-2.0
"""What a chaos run consists of: an ensemble, workers, schedulers; and how each is hurt.

Threads: main thread only. Errors: DevStackError. Everything it starts has ended when it is closed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from faults import SESSION_TIMEOUT_SECONDS

from devstack import Child, DevStackError, Network, ZooKeeperEnsemble, wait_until
from devstack.ensemble import EnsembleServer
from devstack.network import Host
from devstack.processes import descendants

HERE = Path(__file__).parent
ROOT = "/chaos"
PARTITIONS = 8
SLOTS = 24
SECRET = "for this run only"
SESSION_TIMEOUT_MS = int(SESSION_TIMEOUT_SECONDS * 1000)

Undo = Callable[[], None]


@dataclass
class Member:
    """A worker or a scheduler, by its process and where it runs."""

    name: str
    process: Child
    host: Host | None
    hurt: bool = False
    incarnation: int = 0


class Rig:
    """Three servers, some workers, two schedulers. folder takes all that they write."""

    def __init__(
        self,
        folder: Path,
        *,
        seed: int,
        dispatches: int,
        seconds: float,
        network: Network | None,
        workers: int = 3,
    ) -> None:
        self.folder = folder
        self.gates = folder / "gates"
        self.gates.mkdir(parents=True)
        self._network = network
        self.ensemble = ZooKeeperEnsemble(folder / "zookeeper", network=network)
        self._ensemble_hurt = False
        self.workers = [self._worker(f"w{number}") for number in range(workers)]
        half = dispatches // 2
        self.schedulers = [
            self._scheduler(name, seed, count, count / seconds)
            for name, count in (("s0", half), ("s1", dispatches - half))
        ]

    def _host(self, name: str) -> Host | None:
        return self._network.host(name) if self._network else None

    def _worker(self, name: str) -> Member:
        config = self.folder / f"{name}.json"
        config.write_text(
            json.dumps(
                {
                    "gates": str(self.gates),
                    "ledger": str(self.folder / f"{name}.ledger"),
                    "hello": self._hello(name),
                }
            )
        )
        launcher = self.folder / f"{name}.python"
        script = HERE / "noop_zygote.py"
        launcher.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E {script} {config} "$@"\n')
        launcher.chmod(0o755)
        host = self._host(name)
        program = Path(sys.executable).parent / "zk-worker"
        argv = [*(host.command() if host else ()), program, "--python", launcher]
        return Member(name, Child(name, argv, log=self.folder / f"{name}.log"), host)

    def _hello(self, name: str) -> dict[str, object]:
        return {
            "airflow_version": "0",
            "sdk_version": "0",
            "zk_executor_version": "0",
            "hosts": self.ensemble.hosts,
            "root": ROOT,
            "digest_auth": "",
            "session_timeout_ms": SESSION_TIMEOUT_MS,
            "partitions": PARTITIONS,
            "secret": SECRET,
            "slots": SLOTS,
            "slots_max": SLOTS,
            "queues": ["default"],
            "configured_host": name,
            "hostname": name,
            "http_host": "127.0.0.1",
            "http_port": 0,
            "drain_timeout_ms": 500,
            "kill_grace_ms": 500,
            "relist_interval_ms": 2000,
            "journal_dir": str(self.folder / "journal"),
            "log_level": "info",
            "preload": [],
            "api_secret_key": "",
            "base_log_folder": str(self.folder),
            "log_clock_grace_s": 30,
            "execution_api_server_url": "",
            "bundle_cleanup_interval_s": 1800,
        }

    def _scheduler(self, name: str, seed: int, count: int, per_second: float) -> Member:
        (self.folder / f"{name}.json").write_text(
            json.dumps(
                {
                    "name": name,
                    "seed": seed,
                    "secret": SECRET,
                    "folder": str(self.folder),
                    "gates": str(self.gates),
                    "hosts": self.ensemble.hosts,
                    "root": ROOT,
                    "session_timeout_ms": SESSION_TIMEOUT_MS,
                    "partitions": PARTITIONS,
                    "per_second": per_second,
                    "began": time.monotonic(),
                    "dispatches": [f"{name}-{number:06d}" for number in range(count)],
                }
            )
        )
        return self._incarnation(Member(name, Child(name, [], log=Path()), self._host(name)))

    def _incarnation(self, scheduler: Member) -> Member:
        """Give a scheduler that does not run its next process."""
        argv = [*(scheduler.host.command() if scheduler.host else ()), sys.executable]
        argv += [str(HERE / "driver.py"), str(self.folder / f"{scheduler.name}.json")]
        argv += [str(scheduler.incarnation)]
        log = self.folder / f"{scheduler.name}.log"
        scheduler.process = Child(scheduler.name, argv, log=log)
        scheduler.incarnation += 1
        return scheduler

    # Life

    def __enter__(self) -> Rig:
        try:
            self.ensemble.start()
            for member in (*self.workers, *self.schedulers):
                member.process.start()
            for worker in self.workers:
                self._wait_ready(worker)
        except DevStackError:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything at once."""
        for member in (*self.schedulers, *self.workers):
            member.process.kill()
        self.ensemble.stop()

    def _wait_ready(self, worker: Member) -> None:
        log = worker.process.log
        wait_until(
            lambda: "worker ready" in log.read_text(errors="replace"),
            f"{worker.name} to be ready",
            timeout=30,
            needs=[worker.process],
        )

    def done(self) -> bool:
        """Whether both schedulers have seen the end of all that is theirs.

        Raises DevStackError if one has failed.
        """
        for member in self.schedulers:
            if member.process.returncode not in (None, 0, -signal.SIGKILL):
                raise DevStackError(f"{member.name} failed\n{member.process.tail()}")
        return all(member.process.returncode == 0 for member in self.schedulers)

    def tree(self) -> list[str]:
        """Everything that is in ZooKeeper, for evidence; needs a healthy ensemble."""
        jar = "/usr/share/java/zookeeper.jar"
        argv = ["java", "-cp", jar, "org.apache.zookeeper.ZooKeeperMain"]
        argv += ["-server", self.ensemble.hosts, "ls", "-R", ROOT]
        child = Child("zkCli", argv, log=self.folder / "tree.log")
        child.start()
        child.wait(60)
        lines = child.log.read_text(errors="replace").splitlines()
        return [line for line in lines if line.startswith(ROOT)]

    def leftovers(self) -> list[str]:
        """Entries and runs that are still in ZooKeeper."""
        deep = {"queues": 6, "running": 6}
        return [
            path
            for path in self.tree()
            if path.count("/") >= deep.get(path.removeprefix(f"{ROOT}/default/").split("/")[0], 99)
        ]

    def revive(self) -> None:
        """Start workers again that have ended by themselves, as an init system would."""
        for worker in self.workers:
            if not worker.hurt and not worker.process.alive():
                worker.process.kill()
                worker.process.start()

    # Faults: each returns how to undo it; None if its target is hurt already.

    def inflict(self, kind: str, pick: int) -> tuple[str, Undo] | None:
        """Begin a fault; returns the target's name and the undoing. None: not possible now."""
        thing, _, what = kind.partition("_")
        if thing in ("leader", "follower", "ensemble"):
            return self._hurt_ensemble(kind, pick)
        members = self.schedulers if thing == "scheduler" else self.workers
        sound = [one for one in members if not one.hurt and self._is_up(one)]
        if not sound:
            return None
        member = sound[pick % len(sound)]
        undo = getattr(self, f"_{thing}_{what}", None) or getattr(self, f"_{what}")
        restore = undo(member)
        member.hurt = True

        def heal() -> None:
            restore()
            member.hurt = False

        return member.name, heal

    def _is_up(self, member: Member) -> bool:
        """Whether it runs; a worker that was just started may still be about to."""
        if not member.process.alive():
            return False
        return member not in self.workers or bool(_programs(member))

    def _worker_pid(self, worker: Member) -> int:
        """The process that works: not one that guards it."""
        return _programs(worker)[-1]

    def _start_again(self, worker: Member) -> Undo:
        def start() -> None:
            worker.process.kill()
            worker.process.start()

        return start

    def _worker_kill(self, worker: Member) -> Undo:
        os.kill(self._worker_pid(worker), signal.SIGKILL)
        return self._start_again(worker)

    def _host_kill(self, worker: Member) -> Undo:
        worker.process.kill()
        return self._start_again(worker)

    def _worker_drain(self, worker: Member) -> Undo:
        worker.process.send_signal(signal.SIGTERM)
        return self._start_again(worker)

    def _zygote_kill(self, worker: Member) -> Undo:
        for pid in descendants(self._worker_pid(worker)):
            _signal(pid, signal.SIGKILL)
        return lambda: None

    def _worker_stop(self, worker: Member) -> Undo:
        return _stopped([self._worker_pid(worker)])

    _worker_pause = _worker_stop

    def _worker_freeze(self, worker: Member) -> Undo:
        return _stopped([worker.process.pid, *descendants(worker.process.pid)])

    def _scheduler_kill(self, scheduler: Member) -> Undo:
        scheduler.process.kill()

        def succeed() -> None:
            self._incarnation(scheduler).process.start()

        return succeed

    _scheduler_replace = _scheduler_kill

    def _scheduler_stop(self, scheduler: Member) -> Undo:
        return _stopped([scheduler.process.pid])

    def _partition(self, member: Member) -> Undo:
        assert member.host is not None
        member.host.unplug()
        return member.host.plug

    def _hurt_ensemble(self, kind: str, pick: int) -> tuple[str, Undo] | None:
        if self._ensemble_hurt:
            return None
        leader = self.ensemble.leader()
        followers = [one for one in self.ensemble.servers if one is not leader]
        if leader is None:
            return None
        victims = {
            "leader": [leader],
            "follower": [followers[pick % len(followers)]],
            "ensemble": self.ensemble.servers,
        }[kind.partition("_")[0]]
        restore = self._hurt_servers(kind.partition("_")[2], victims)
        self._ensemble_hurt = True

        def heal() -> None:
            restore()
            self._ensemble_hurt = False

        return "+".join(one.process.name for one in victims), heal

    def _hurt_servers(self, how: str, servers: list[EnsembleServer]) -> Undo:
        if how == "pause":
            return _stopped([servers[0].process.pid])
        if how == "partition":
            host = servers[0].host
            assert host is not None
            host.unplug()
            return host.plug
        for server in servers:
            server.process.kill()

        def start() -> None:
            for server in servers:
                server.process.start()

        return start

    def wait_done(self, timeout: float) -> bool:
        """Wait until everything has ended; False if it does not."""

        def done() -> bool:
            self.revive()
            return self.done()

        try:
            return wait_until(done, "all dispatches to end", timeout=timeout, interval=0.2)
        except DevStackError as error:
            print(error, flush=True)
            return False


def _programs(worker: Member) -> list[int]:
    """The processes of zk-worker itself, parents first."""
    family = [worker.process.pid, *descendants(worker.process.pid)]
    return [pid for pid in family if _name(pid) == "zk-worker"]


def _stopped(pids: list[int]) -> Undo:
    """SIGSTOP, to be undone with SIGCONT."""
    for pid in pids:
        _signal(pid, signal.SIGSTOP)

    def go_on() -> None:
        for pid in pids:
            _signal(pid, signal.SIGCONT)

    return go_on


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
