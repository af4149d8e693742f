# SPDX-License-Identifier: Apache-2.0
"""A case: one workload, what the API server answers it, and what came of it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from api_server import Request, Rule

NAMESPACE = uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
BUNDLE = {"name": "dags-folder", "version": None}


@dataclass(frozen=True)
class Kill:
    """The worker is told to end the run when it has asked for this route."""

    signal: str  # term or kill
    route: str = "/variables/here"


@dataclass(frozen=True)
class Case:
    """
    A task of dags/tasks.py (or another workload), and its circumstances.

    Cases run at the same time and in any order. ``context`` changes the answer to the start of
    the task, ``ti`` the task instance of the workload, ``change`` the workload itself.
    """

    name: str
    task: str = ""
    plan: Mapping[str, Any] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    context: Mapping[str, Any] = field(default_factory=dict)
    ti: Mapping[str, Any] = field(default_factory=dict)
    change: Mapping[str, Any] = field(default_factory=dict)
    kill: Kill | None = None
    heartbeats: bool = False  # whether they are what the case is about
    refresh: bool = False  # whether the start is answered with a new token
    # How many different requests its rules must have answered on each side.
    rules_answer: int = 1

    @property
    def id(self) -> str:
        """The id of its task instance, the same in every run of the tests."""
        return str(uuid.uuid5(NAMESPACE, self.name))

    @property
    def log_path(self) -> str:
        return f"dag_id=conformance/run_id=run/task_id={self.name}/attempt=1.log"

    def workload(self) -> str:
        """Airflow's JSON."""
        ti = {
            "id": self.id,
            "dag_version_id": str(uuid.uuid5(NAMESPACE, "version")),
            "task_id": self.task,
            "dag_id": "conformance",
            "run_id": self.context.get("dag_run", {}).get("run_id", "run"),
            "try_number": 1,
            "map_index": -1,
            "hostname": None,
            "context_carrier": None,
            "pool_slots": 1,
            "queue": "default",
            "priority_weight": 1,
            "executor_config": None,
            **self.ti,
        }
        return json.dumps(
            {
                "token": f"{self.name}.0",
                "dag_rel_path": "tasks.py",
                "bundle_info": BUNDLE,
                "log_path": self.log_path,
                "sentry_integration": "",
                "ti": ti,
                "type": "ExecuteTask",
                **self.change,
            }
        )


@dataclass(frozen=True)
class Outcome:
    """What came of a case on one side."""

    report: Mapping[str, str]
    requests: tuple[Request, ...]
    log: bytes | None  # None: there is no file
    log_modes: tuple[str, ...]  # of the file and the folder it is in
    answers: tuple[str, ...]  # what the task noted
    # Per rule of the case the requests that got an answer of its own.
    served: tuple[tuple[Request, ...], ...] = ()
