# SPDX-License-Identifier: Apache-2.0
"""Which of Airflow's own example DAGs the demo and the tests run, and where they are installed.

Chosen: those that end by themselves within a minute, need neither network nor further packages,
and take the same way each time. Left out, for instance: example_branch_operator (installs numpy
and chooses at random), example_sensors (polls once a minute), example_external_task (the same).

Threads: any. Errors: DevStackError when Airflow is not installed.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from devstack.processes import DevStackError


@dataclass(frozen=True)
class ExampleFile:
    """A file of examples.

    triggered are the DAGs of it to trigger; others may be in it only because a triggered DAG
    triggers them. extra are names of files or folders beside it that it reads.
    """

    module: str
    triggered: tuple[str, ...]
    shows: str
    extra: tuple[str, ...] = ()
    expected: str = "success"
    also_runs: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        return _package_folder(self.module.rpartition(".")[0]) / (
            self.module.rpartition(".")[2] + ".py"
        )

    @property
    def files(self) -> list[Path]:
        """The file, and what it reads."""
        return [self.path, *(self.path.parent / name for name in self.extra)]


CORE = "airflow.example_dags"
STANDARD = "airflow.providers.standard.example_dags"

DEMO = (
    ExampleFile(f"{STANDARD}.example_bash_operator", ("example_bash_operator",), "BashOperator"),
    ExampleFile(f"{CORE}.tutorial_taskflow_api", ("tutorial_taskflow_api",), "TaskFlow, XCom"),
    ExampleFile(
        f"{CORE}.example_dynamic_task_mapping",
        (
            "example_dynamic_task_mapping",
            "example_task_mapping_second_order",
            "example_task_group_mapping",
        ),
        "mapped tasks",
    ),
    ExampleFile(
        f"{STANDARD}.example_short_circuit_operator",
        ("example_short_circuit_operator",),
        "short circuit",
    ),
    ExampleFile(f"{CORE}.example_nested_branch_dag", ("example_nested_branch_dag",), "branching"),
    ExampleFile(
        f"{CORE}.example_setup_teardown_taskflow",
        ("example_setup_teardown_taskflow",),
        "setup and teardown",
    ),
)

COMPARED = (
    *DEMO,
    ExampleFile(
        f"{CORE}.example_dynamic_task_mapping_with_no_taskflow_operators",
        ("example_dynamic_task_mapping_with_no_taskflow_operators",),
        "mapped operators",
    ),
    ExampleFile(f"{CORE}.example_setup_teardown", ("example_setup_teardown",), "setup, teardown"),
    ExampleFile(f"{CORE}.example_xcom", ("example_xcom",), "XCom"),
    ExampleFile(
        f"{CORE}.example_xcomargs",
        ("example_xcom_args", "example_xcom_args_with_operators"),
        "XComArg",
    ),
    ExampleFile(
        f"{STANDARD}.example_trigger_controller_dag",
        ("example_trigger_controller_dag",),
        "triggers a DAG run",
    ),
    ExampleFile(
        f"{CORE}.example_trigger_target_dag",
        (),
        "is triggered",
        also_runs=("example_trigger_target_dag",),
    ),
    ExampleFile(
        f"{CORE}.example_time_delta_sensor_async", ("example_time_delta_sensor_async",), "deferral"
    ),
    ExampleFile(
        f"{STANDARD}.example_sensor_decorator", ("example_sensor_decorator",), "sensor, reschedule"
    ),
    ExampleFile(f"{CORE}.example_params_trigger_ui", ("example_params_trigger_ui",), "params"),
    ExampleFile(f"{CORE}.example_skip_dag", ("example_skip_dag",), "skipping"),
    ExampleFile(f"{STANDARD}.example_latest_only", ("latest_only",), "latest only"),
    ExampleFile(
        f"{CORE}.tutorial_taskflow_templates",
        ("tutorial_taskflow_templates",),
        "templates",
        extra=("sql",),
    ),
    ExampleFile(
        f"{CORE}.example_task_state_store", ("example_task_state_store",), "a retry that succeeds"
    ),
    ExampleFile(
        f"{CORE}.example_failed_dag", ("example_failed_dag",), "a failure", expected="failed"
    ),
)


# Ten files that are quick and show each way that a task can end or ask for something: for tests
# that run with every version. 3.4 has loops, whose gates decide and whose tasks look back.
_EVERY_VERSION = (
    "example_bash_operator",
    "tutorial_taskflow_api",
    "example_dynamic_task_mapping",
    "example_short_circuit_operator",
    "example_nested_branch_dag",
    "example_setup_teardown_taskflow",
    "example_xcom",
    "example_time_delta_sensor_async",
    "example_task_state_store",
)
_LOOPS = ExampleFile(
    f"{CORE}.example_task_loops",
    ("refine_estimate", "fixed_task_loop", "mapped_task_loop", "partial_override_loop"),
    "loops",
)


def examples_of(airflow_version: str) -> tuple[ExampleFile, ...]:
    """Ten files of examples that a version of Airflow has."""
    by_name = {example.module.rpartition(".")[2]: example for example in COMPARED}
    chosen = tuple(by_name[name] for name in _EVERY_VERSION)
    if airflow_version.startswith("3.3."):
        return (*chosen, by_name["example_failed_dag"])
    return (*chosen, _LOOPS)


def _package_folder(package: str) -> Path:
    """Folder of a package, without importing Airflow."""
    first, *rest = package.split(".")
    spec = importlib.util.find_spec(first)
    for location in (spec.submodule_search_locations or []) if spec else []:
        if (folder := Path(location).joinpath(*rest)).is_dir():
            return folder
    raise DevStackError(f"{package} is not installed")
