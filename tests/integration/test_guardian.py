# SPDX-License-Identifier: Apache-2.0
"""What the death of a worker's process leaves behind, and how soon that is known.

The sessions last 30 s, so whatever is known sooner is known because somebody closed them. The
workers run shell commands under a zygote without Airflow, which cleans up nothing by itself.
"""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kazoo.client import KazooClient

from devstack import ZkWorker, ZooKeeperServer, fake_python
from devstack.processes import descendants, is_running, wait_until
from zk_executor import _core

SECRET = "an encryption key for tests"
SOON = 20  # seconds; well below the session timeout
SLEEPER = "setsid sleep 1000 & echo $! > {mark}.new; mv {mark}.new {mark}; wait"


class Site:
    """A ZooKeeper, a tree in it, and the workers on that."""

    def __init__(self, folder: Path, zookeeper: ZooKeeperServer) -> None:
        self.folder = folder
        self.zookeeper = zookeeper
        self.root = f"/test-{secrets.token_hex(8)}"
        self.workers: list[ZkWorker] = []
        self.events: dict[str, _core.Event] = {}
        self.kazoo = KazooClient(zookeeper.hosts)
        self.kazoo.start()
        self.executor = _core.Session(
            hosts=zookeeper.hosts,
            root=self.root,
            team="default",
            scheduler_id="s1",
            session_timeout_ms=10000,
            partitions=4,
            encryption_secret=SECRET.encode(),
            digest_auth="",
            max_workload_bytes=100_000,
        )
        self.executor.start()

    def worker(self, *, wait: bool = True, **hello: object) -> ZkWorker:
        python = fake_python(self.folder, hosts=self.zookeeper.hosts, root=self.root, **hello)
        worker = ZkWorker(self.folder, os.environ, name="w", python=python)
        self.workers.append(worker)
        worker.start(wait=wait)
        return worker

    def place(self, dispatch: str, command: str) -> None:
        self.executor.place(
            [
                _core.Placement(
                    dispatch_id=dispatch,
                    queue="default",
                    kind="task",
                    route_key="f.py",
                    slots=1,
                    priority=1,
                    workload=command.encode(),
                    label=dispatch,
                )
            ]
        )

    def start_sleeper(self, dispatch: str = "d1") -> int:
        """Have a worker start a process in a session of its own; returns its pid."""
        mark = self.folder / dispatch
        self.place(dispatch, SLEEPER.format(mark=mark))
        wait_until(mark.exists, "the task", timeout=60, needs=[w.process for w in self.workers])
        return int(mark.read_text())

    def event(self, dispatch: str) -> _core.Event:
        def collect() -> _core.Event | None:
            self.events.update((one.dispatch_id, one) for one in self.executor.drain_events())
            return self.events.get(dispatch)

        return wait_until(collect, f"the end of {dispatch}", timeout=60)

    def children(self, path: str) -> list[str]:
        path = f"{self.root}/default/{path}"
        return self.kazoo.get_children(path) if self.kazoo.exists(path) else []

    def claims(self) -> list[str]:
        found = []
        for partition in self.children("running/default"):
            for run in self.children(f"running/default/{partition}"):
                found += self.children(f"running/default/{partition}/{run}")
        return found

    def wait_forgotten(self, worker: ZkWorker) -> None:
        """Until ZooKeeper knows nothing of the worker any more."""

        def forgotten() -> bool:
            left = [*self.children("workers"), *self.children("control")]
            return worker.full_name not in left and not self.claims()

        wait_until(
            forgotten,
            "worker node, claims and control node to go",
            timeout=SOON,
            describe=worker.output,
        )

    def close(self) -> None:
        for worker in self.workers:
            worker.stop()
        self.executor.stop(1000)
        self.kazoo.stop()
        self.kazoo.close()


@pytest.fixture
def site(tmp_path: Path, zookeeper: ZooKeeperServer) -> Iterator[Site]:
    one = Site(tmp_path, zookeeper)
    yield one
    one.close()


@pytest.fixture
def own_site(tmp_path: Path, own_zookeeper: ZooKeeperServer) -> Iterator[Site]:
    one = Site(tmp_path, own_zookeeper)
    yield one
    one.close()


def wait_ended(pids: list[int], what: str) -> None:
    wait_until(lambda: not any(is_running(pid) for pid in pids), what, timeout=SOON)


def test_killed_worker_process_is_known_at_once_and_the_guardian_tells_the_signal(
    site: Site,
) -> None:
    worker = site.worker()
    sleeper = site.start_sleeper()
    assert site.claims()
    below = descendants(worker.process.pid)
    os.kill(worker.worker_pid, signal.SIGKILL)
    site.wait_forgotten(worker)
    assert worker.process.wait(SOON) == 128 + signal.SIGKILL
    assert not [pid for pid in [*below, sleeper] if is_running(pid)]
    assert "guardian: worker process was killed" in worker.output()


def test_control_node_goes_only_after_the_last_process_of_a_task(site: Site) -> None:
    worker = site.worker()
    sleepers = [site.start_sleeper(f"d{number}") for number in range(4)]
    seen: list[list[int]] = []

    def changed(_: object) -> None:
        seen.append([pid for pid in sleepers if is_running(pid)])

    assert site.kazoo.exists(f"{site.root}/default/control/{worker.full_name}", watch=changed)
    worker.kill_worker_process()
    wait_until(lambda: seen, "the control node to go", timeout=SOON)
    assert seen == [[]]


def test_killed_guardian_takes_the_worker_with_it_and_that_is_known_at_once(site: Site) -> None:
    worker = site.worker()
    sleeper = site.start_sleeper()
    below = descendants(worker.process.pid)
    worker.kill()
    site.wait_forgotten(worker)
    wait_ended([*below, sleeper], "worker process, zygote and tasks to end")
    assert "guardian died" in worker.output()


def test_worker_process_and_zygote_killed_at_once_leave_no_process(site: Site) -> None:
    worker = site.worker()
    sleeper = site.start_sleeper()
    (worker_pid, zygote, *tasks) = descendants(worker.process.pid)
    os.kill(worker_pid, signal.SIGSTOP)  # so that it can't do anything about the zygote's end
    os.kill(zygote, signal.SIGKILL)
    os.kill(worker_pid, signal.SIGKILL)
    assert worker.process.wait(SOON) == 128 + signal.SIGKILL
    assert not [pid for pid in [zygote, sleeper, *tasks] if is_running(pid)]
    site.wait_forgotten(worker)


def test_sigterm_drains_and_leaves_nothing_in_zookeeper(site: Site) -> None:
    worker = site.worker()
    site.place("d1", "exit 0")
    assert site.event("d1").outcome == "success"
    worker.drain()
    assert worker.process.wait(SOON) == 0
    assert site.children("workers") == []
    assert site.children("control") == []


def pending_signals(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(
        int(line.split()[1], 16).bit_count()
        for line in status.splitlines()
        if line.startswith("ShdPnd")
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_to_the_whole_group_counts_once_and_a_second_ends_tasks(
    site: Site, number: signal.Signals
) -> None:
    worker = site.worker()
    site.place("sleeps", "exec sleep 1000")
    gate = site.folder / "gate"
    site.place("waits", f"until [ -e {gate} ]; do sleep 0.05; done")
    wait_until(lambda: len(site.claims()) == 2, "both claims", timeout=SOON)
    wait_until(
        lambda: worker.output().count("start dispatch=") == 2, "both tasks to run", timeout=SOON
    )
    # A terminal or a service manager, which reaches the worker process as well; both signals
    # are there before that can look at the first.
    os.kill(worker.worker_pid, signal.SIGSTOP)
    os.kill(worker.worker_pid, number)
    os.killpg(worker.process.pid, number)
    wait_until(lambda: pending_signals(worker.worker_pid) == 2, "both signals", timeout=SOON)
    os.kill(worker.worker_pid, signal.SIGCONT)
    wait_until(lambda: "draining" in worker.output(), "the drain", timeout=SOON)
    gate.touch()
    assert site.event("waits").outcome == "success"
    assert "drain time is over" not in worker.output()
    os.killpg(worker.process.pid, number)
    assert worker.process.wait(SOON) == 0
    assert "drain time is over" in worker.output()


@pytest.mark.parametrize(("hello", "code"), [({"queues": []}, 2), ({"fails": True}, 4)])
def test_exit_code_of_the_worker_process_is_the_guardians(
    site: Site, hello: dict[str, object], code: int
) -> None:
    worker = site.worker(wait=False, **hello)
    assert worker.process.wait(SOON) == code


def test_zookeeper_away_when_the_worker_dies_is_told_once_it_is_back(own_site: Site) -> None:
    worker = own_site.worker()
    own_site.zookeeper.stop()
    os.kill(worker.worker_pid, signal.SIGKILL)
    wait_until(
        lambda: "guardian: worker process was killed" in worker.output(), "the end", timeout=SOON
    )
    assert worker.process.alive()
    own_site.zookeeper.start()
    own_site.wait_forgotten(worker)
    assert worker.process.wait(SOON) == 128 + signal.SIGKILL


def test_guardian_without_zookeeper_gives_up_when_asked_to_end(own_site: Site) -> None:
    worker = own_site.worker()
    own_site.zookeeper.stop()
    os.kill(worker.worker_pid, signal.SIGKILL)
    wait_until(
        lambda: "guardian: worker process was killed" in worker.output(), "the end", timeout=SOON
    )

    def ended() -> bool:
        worker.drain()  # what comes while it still kills is none of a second will
        return not worker.process.alive()

    wait_until(ended, "the guardian to give up", timeout=SOON)
    assert worker.process.returncode == 128 + signal.SIGKILL
    assert "giving up" in worker.output()


def test_guardian_has_one_thread_and_its_channel_is_not_inherited(site: Site) -> None:
    worker = site.worker()
    assert len(list(Path(f"/proc/{worker.process.pid}/task").iterdir())) == 1
    (_, zygote) = descendants(worker.process.pid)
    open_files = [os.readlink(entry) for entry in Path(f"/proc/{zygote}/fd").iterdir()]
    assert len([name for name in open_files if name.startswith("socket:")]) == 1


def test_second_worker_of_the_same_name_is_not_touched_by_the_death_of_the_first(
    site: Site, make_second: Callable[[], ZkWorker]
) -> None:
    first = site.worker()
    second = make_second()
    first.kill_worker_process()
    site.wait_forgotten(first)
    assert site.children("workers") == [second.full_name]
    assert site.children("control") == [second.full_name]


@pytest.fixture
def make_second(site: Site) -> Callable[[], ZkWorker]:
    def make() -> ZkWorker:
        folder = site.folder / "second"
        folder.mkdir()
        python = fake_python(folder, hosts=site.zookeeper.hosts, root=site.root)
        worker = ZkWorker(folder, os.environ, name="w", python=python)
        site.workers.append(worker)
        worker.start()
        return worker

    return make


def test_result_of_a_worker_that_dies_while_zookeeper_is_away_is_brought_by_the_next(
    own_site: Site,
) -> None:
    worker = own_site.worker(session_timeout_ms=5000)
    gate = own_site.folder / "gate"
    own_site.place("d1", f"until [ -e {gate} ]; do sleep 0.05; done")
    wait_until(lambda: "start dispatch=" in worker.output(), "the task", timeout=60)
    own_site.zookeeper.stop()
    gate.touch()
    journals = own_site.folder / "journal"
    wait_until(lambda: list(journals.glob("*/*.journal")), "the journal", timeout=60)
    os.kill(worker.worker_pid, signal.SIGKILL)
    worker.process.kill()
    own_site.zookeeper.start()
    heir = own_site.worker(session_timeout_ms=5000)
    assert own_site.event("d1").outcome == "success"
    assert "found in the journal dispatch=d1" in heir.output()
    wait_until(lambda: not list(journals.glob("*/*")), "the journal to be empty", timeout=SOON)
