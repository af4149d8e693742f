# SPDX-License-Identifier: Apache-2.0
"""The few calls of Airflow's REST API that the demo and the tests need, on the standard library.

Threads: any; it keeps only a token. Errors: ApiError for an answer other than 2xx; OSError when
nobody answers; DevStackError when a wait passes its deadline. An answer of 5xx (a database that
was busy for a moment, say) is asked for again for RETRY_SECONDS before it becomes an ApiError.
"""

from __future__ import annotations

import datetime
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from devstack.processes import Child, DevStackError, wait_until

PAGE = 100
FINISHED_RUN = frozenset({"success", "failed"})
RETRY_SECONDS = 30.0
RETRY_INTERVAL = 0.5


class ApiError(RuntimeError):
    """The API server answered with an error.

    repeated says that the request had been answered 5xx before, and so may have been carried out.
    """

    def __init__(self, status: int, text: str, *, repeated: bool = False) -> None:
        super().__init__(f"HTTP {status}: {text}")
        self.status = status
        self.repeated = repeated


@dataclass(frozen=True, order=True)
class TaskState:
    """What the API says of one task instance."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    state: str
    try_number: int
    hostname: str
    queued_at: datetime.datetime | None
    started_at: datetime.datetime | None
    ended_at: datetime.datetime | None

    @property
    def queue_seconds(self) -> float | None:
        """Seconds from queued to running.

        None for tasks that no executor ran, and for those that were queued once more after they
        had started (a deferral), of which Airflow keeps the first start.
        """
        if self.queued_at is None or self.started_at is None or not self.hostname:
            return None
        seconds = (self.started_at - self.queued_at).total_seconds()
        return seconds if seconds >= 0 else None


class AirflowClient:
    """Talks to one API server whose simple auth manager makes everyone an admin."""

    def __init__(self, base_url: str, *, retry_interval: float = RETRY_INTERVAL) -> None:
        self.base_url = base_url.rstrip("/")
        self._retry_interval = retry_interval
        self._token = ""
        # The server is on this machine; a proxy of the environment is not for it.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """One call below /api/v2; returns the decoded JSON, None if there is none."""
        if not self._token:
            self._token = self._send("GET", "/auth/token", None)["access_token"]
        address = f"/api/v2{path}" + (f"?{urlencode(query, doseq=True)}" if query else "")
        return self._send(method, address, body, headers)

    def health(self) -> dict[str, str]:
        """Status by component, empty while nobody answers."""
        try:
            answer = self._send_once("GET", "/api/v2/monitor/health", None)
        except (OSError, http.client.HTTPException, ApiError):
            return {}
        return {name: (part or {}).get("status") or "" for name, part in answer.items()}

    def dag_ids(self) -> set[str]:
        """DAGs that are there and not stale."""
        return {dag["dag_id"] for dag in self._pages("/dags", "dags")}

    def import_errors(self) -> dict[str, str]:
        """Stack trace by file."""
        errors = self._pages("/importErrors", "import_errors")
        return {error["filename"]: error["stack_trace"] for error in errors}

    def unpause(self, dag_id: str) -> None:
        self.request("PATCH", f"/dags/{quote(dag_id)}", {"is_paused": False})

    def trigger(
        self, dag_id: str, *, run_id: str | None = None, conf: Mapping[str, Any] | None = None
    ) -> str:
        """Start a DAG run for now; returns its run id."""
        now = datetime.datetime.now(datetime.timezone.utc).isoformat()
        # An id of our own, so that a request that has to be repeated starts no second run.
        run_id = run_id or f"manual__{now}"
        body = {"logical_date": now, "conf": dict(conf or {}), "dag_run_id": run_id}
        try:
            self.request("POST", f"/dags/{quote(dag_id)}/dagRuns", body)
        except ApiError as error:
            if not (error.status == 409 and error.repeated):
                raise
        return run_id

    def run_state(self, dag_id: str, run_id: str) -> str:
        return self.request("GET", f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id)}")["state"]

    def run_states(self) -> dict[tuple[str, str], str]:
        """State by (dag id, run id) of every run of every DAG."""
        runs = self._pages("/dags/~/dagRuns", "dag_runs")
        return {(run["dag_id"], run["dag_run_id"]): run["state"] for run in runs}

    def wait_runs(
        self,
        runs: Iterable[tuple[str, str]],
        *,
        timeout: float,
        needs: Iterable[Child] = (),
        on_poll: Callable[[dict[tuple[str, str], str]], None] | None = None,
    ) -> dict[tuple[str, str], str]:
        """Wait until the given (dag id, run id) have ended; returns the state of each."""
        wanted = set(runs)
        states: dict[tuple[str, str], str] = {}

        def ended() -> bool:
            states.update((run, state) for run, state in self.run_states().items() if run in wanted)
            if on_poll:
                on_poll(states)
            return all(states.get(run) in FINISHED_RUN for run in wanted)

        def open_runs() -> str:
            names = sorted(run for run in wanted if states.get(run) not in FINISHED_RUN)
            lines = [f"still open: {dag_id} {run_id}" for dag_id, run_id in names]
            for dag_id, run_id in names:
                lines += [
                    f"  {task.task_id}[{task.map_index}]: {task.state} on {task.hostname or '-'}"
                    for task in self.tasks(dag_id, run_id)
                    if task.state not in ("success", "skipped")
                ]
            return "\n".join(lines)

        wait_until(
            ended,
            f"{len(wanted)} DAG runs to end",
            timeout=timeout,
            needs=needs,
            interval=0.5,
            describe=open_runs,
        )
        return states

    def tasks(self, dag_id: str = "~", run_id: str = "~") -> list[TaskState]:
        """Task instances of a run, or of all runs, sorted."""
        path = f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id)}/taskInstances"
        return sorted(
            (_task_state(task) for task in self._pages(path, "task_instances")),
            key=lambda task: (task.dag_id, task.run_id, task.task_id, task.map_index),
        )

    def wait_task(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        states: Iterable[str],
        *,
        timeout: float,
        map_index: int = -1,
        needs: Iterable[Child] = (),
    ) -> TaskState:
        """Wait until a task instance is in one of the states; returns it."""
        wanted = frozenset(states)
        last: list[TaskState] = []

        def reached() -> TaskState | None:
            last[:] = [
                task
                for task in self.tasks(dag_id, run_id)
                if (task.task_id, task.map_index) == (task_id, map_index)
            ]
            return last[0] if last and last[0].state in wanted else None

        return wait_until(
            reached,
            f"{dag_id}.{task_id}[{map_index}] to be {' or '.join(sorted(wanted))}",
            timeout=timeout,
            needs=needs,
            interval=0.2,
            describe=lambda: f"last seen: {last}",
        )

    def log(
        self, dag_id: str, run_id: str, task_id: str, *, try_number: int = 1, map_index: int = -1
    ) -> str:
        """The log of a try as the UI shows it: one event a line, then its exceptions."""
        answer = self.request(
            "GET",
            f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id)}/taskInstances/{quote(task_id)}"
            f"/logs/{try_number}",
            query={"map_index": map_index, "full_content": "true"},
        )
        texts = []
        for line in answer["content"]:
            if isinstance(line, str):
                texts.append(line)
                continue
            texts.append(line["event"])
            for error in line.get("error_detail") or ():
                texts.append(f"{error['exc_type']}: {error['exc_value']}")
        return "\n".join(texts)

    def _pages(self, path: str, key: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        while True:
            answer = self.request("GET", path, query={"limit": PAGE, "offset": len(items)})
            items += answer[key]
            if not answer[key] or len(items) >= answer["total_entries"]:
                return items

    def _send(
        self,
        method: str,
        address: str,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """_send_once(), again while the answer is 5xx."""
        deadline = time.monotonic() + RETRY_SECONDS
        repeated = False
        while True:
            try:
                return self._send_once(method, address, body, headers)
            except ApiError as error:
                if error.status < 500 or time.monotonic() >= deadline:
                    error.repeated = repeated
                    raise
                repeated = True
                time.sleep(self._retry_interval)

    def _send_once(
        self,
        method: str,
        address: str,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        request = urllib.request.Request(
            self.base_url + address,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Content-Type": "application/json",
                "Accept": "application/json",
                **(headers or {}),
            },
        )
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with self._opener.open(request, timeout=30) as response:
                text = response.read()
        except urllib.error.HTTPError as error:
            raise ApiError(error.code, error.read().decode(errors="replace")) from None
        except TimeoutError:
            raise DevStackError(f"{method} {address}: no answer within 30 s") from None
        return json.loads(text) if text else None


def _task_state(task: Mapping[str, Any]) -> TaskState:
    return TaskState(
        dag_id=task["dag_id"],
        run_id=task["dag_run_id"],
        task_id=task["task_id"],
        map_index=task["map_index"],
        state=task["state"] or "none",
        try_number=task["try_number"],
        hostname=task["hostname"] or "",
        queued_at=_time(task["queued_when"]),
        started_at=_time(task["start_date"]),
        ended_at=_time(task["end_date"]),
    )


def _time(text: str | None) -> datetime.datetime | None:
    # Python 3.10 reads no "Z".
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None
