# SPDX-License-Identifier: Apache-2.0
"""The C++ half of the executor. Calls release the GIL; C++ never calls Python."""

from typing import Literal, TypedDict

class ZkError(Exception):
    """ZooKeeper could not answer; the message says what was asked of whom."""

class Placement:
    """One hand-over of one workload."""

    def __init__(
        self,
        *,
        dispatch_id: str,
        queue: str,
        kind: Literal["task", "callback", "connection_test"],
        route_key: str,
        slots: int,
        priority: int,
        workload: bytes,
        label: str,
    ) -> None: ...

class Event:
    """What became of a dispatch. Read only."""

    @property
    def dispatch_id(self) -> str: ...
    @property
    def outcome(self) -> str:
        """success, failed, already_running, stale, token, killed, lost, gone or rejected."""
    @property
    def info(self) -> str:
        """The reason, for a human; "" on success."""
    @property
    def worker(self) -> str:
        """The worker's name, or ""."""

class Status(TypedDict):
    connected: bool
    session_state: str
    live_workers: int
    live_slots: int
    outstanding: int
    strangers: int
    last_error: str

class Session:
    """The executor's ZooKeeper side. Has its own I/O thread from ``start`` to ``stop``.

    Every method but ``stop`` returns at once and none raises for ZooKeeper trouble.
    Errors: ValueError from the constructor, naming the option.
    """

    def __init__(
        self,
        *,
        hosts: str,
        root: str,
        team: str,
        scheduler_id: str,
        session_timeout_ms: int,
        partitions: int,
        encryption_secret: bytes,
        digest_auth: str,
        max_workload_bytes: int,
    ) -> None: ...
    def start(self) -> None: ...
    def place(self, items: list[Placement]) -> None: ...
    def adopt(self, dispatches: list[tuple[str, str]], dead_schedulers: list[str] = ...) -> None:
        """Takes over (dispatch id, queue); verified later, event "gone" if nowhere."""
    def revoke(self, dispatch_id: str) -> None:
        """Deletes it if queued, else has its holder kill it. No event follows."""
    def drain_events(self) -> list[Event]: ...
    def status(self) -> Status: ...
    def stop(self, timeout_ms: int) -> None:
        """Flushes, closes the ZooKeeper session, joins the thread. Idempotent."""

class WorkerInfo(TypedDict):
    worker: str
    host: str
    pid: int
    state: str
    queues: list[str]
    slots: int
    running: int
    version: str
    log_port: int
    started_at: str
    comment: str

class QueueInfo(TypedDict):
    queue: str
    depth: int
    running: int
    oldest_age_seconds: float | None
    workers: int

def inspect_workers(
    *, hosts: str, root: str, team: str, digest_auth: str, timeout_ms: int
) -> list[WorkerInfo]:
    """Blocks up to ``timeout_ms``. Errors: ZkError, ValueError."""

def inspect_queues(
    *, hosts: str, root: str, team: str, digest_auth: str, timeout_ms: int
) -> list[QueueInfo]:
    """Blocks up to ``timeout_ms``. Errors: ZkError, ValueError."""

class FleetQueue(TypedDict):
    queue: str
    depth: int
    running: int
    reserved_slots: int
    oldest_age_seconds: float | None
    workers: int

class FleetWorker(TypedDict):
    worker: str
    state: str
    queues: list[str]
    slots: int
    running: int
    reserved_slots: int

class Fleet(TypedDict):
    queues: list[FleetQueue]
    workers: list[FleetWorker]
    schedulers: int
    results_waiting: int
    without_claim: int
    commands: int
    command_age_seconds: float
    unrecognized: int

class FleetMonitor:
    """Reads a tree again and again on one session; writes nothing.

    One thread at a time. Errors: ValueError from the constructor, naming the option.
    """

    def __init__(
        self, *, hosts: str, root: str, team: str, digest_auth: str, timeout_ms: int
    ) -> None: ...
    def read(self) -> Fleet:
        """What is there now. Blocks up to ``timeout_ms``. Errors: ZkError."""
    def wait(self, ms: int) -> None:
        """Blocks for that long, and keeps the session alive meanwhile."""

class CommandOutcome(TypedDict):
    worker: str
    state: str
    slots: int
    queues: list[str]
    comment: str
    problem: str
    """Why it did not obey; "" if the others say what is true now."""

def send_command(
    *,
    hosts: str,
    root: str,
    team: str,
    digest_auth: str,
    timeout_ms: int,
    workers: list[str],
    verb: Literal["drain", "maintenance", "resume", "concurrency", "queues_add", "queues_remove"],
    slots: int = 0,
    queues: list[str] = ...,
    comment: str = "",
    by: str = "",
) -> list[CommandOutcome]:
    """Waits until each of ``workers`` (full names) has obeyed; takes back what is not obeyed.

    Blocks little longer than ``timeout_ms``. Errors: ZkError, ValueError.
    """

class Dispatched(TypedDict):
    dispatch_id: str
    label: str
    queue: str
    worker: str

KillResult = Literal["ended", "asked", "worker_gone", "queued", "unknown", "ambiguous"]

def kill_dispatch(
    *,
    hosts: str,
    root: str,
    team: str,
    digest_auth: str,
    timeout_ms: int,
    dispatch_id: str = "",
    label_head: str = "",
    label_tail: str = "",
) -> tuple[KillResult, list[Dispatched]]:
    """Ends a running dispatch, named by its id or by its label around the number of the try.

    Blocks little longer than ``timeout_ms``. Errors: ZkError, ValueError.
    """

def ring_preference(
    *, nodes: list[tuple[str, int]], keys: list[str], count: int = 1
) -> list[list[str]]:
    """For each route key up to ``count`` nodes, the preferred first, on the executor's own ring.

    nodes: names and slots, each 0 to 10,000 (0 counts as 1), together at most 1,000,000. Empty
    lists without nodes. Blocks nobody, asks nobody. Errors: ValueError.
    """
