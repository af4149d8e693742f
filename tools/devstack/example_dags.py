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

# Further ones that take longer or show nothing new: what is compared with time to spare.
FURTHER = (
    ExampleFile(
        f"{CORE}.example_asset_alias",
        ("asset_s3_bucket_producer", "asset_alias_example_alias_producer"),
        "asset aliases",
    ),
    ExampleFile(
        f"{CORE}.example_asset_alias_with_no_taskflow",
        (
            "asset_s3_bucket_producer_with_no_taskflow",
            "asset_alias_example_alias_producer_with_no_taskflow",
        ),
        "asset aliases",
    ),
    ExampleFile(f"{CORE}.example_asset_decorator", ("asset1_producer",), "an asset's own DAG"),
    ExampleFile(
        f"{CORE}.example_asset_state_store",
        ("example_asset_state_store_producer",),
        "state of an asset",
    ),
    ExampleFile(f"{CORE}.example_assets", ("asset_produces_1", "asset_produces_2"), "assets"),
    ExampleFile(
        f"{CORE}.example_outlet_event_extra",
        (
            "asset_with_extra_by_yield",
            "asset_with_extra_by_context",
            "asset_with_extra_from_classic_operator",
        ),
        "what an asset's event carries",
    ),
    ExampleFile(f"{CORE}.example_branch_labels", ("example_branch_labels",), "labels"),
    ExampleFile(f"{CORE}.example_complex", ("example_complex",), "37 tasks"),
    ExampleFile(f"{CORE}.example_display_name", ("example_display_name",), "display names"),
    ExampleFile(
        f"{CORE}.example_latest_only_with_trigger", ("latest_only_with_trigger",), "latest only"
    ),
    ExampleFile(
        f"{CORE}.example_passing_params_via_test_command",
        ("example_passing_params_via_test_command",),
        "params",
    ),
    ExampleFile(f"{CORE}.example_simplest_dag", ("example_simplest_dag",), "one task"),
    ExampleFile(f"{CORE}.example_task_group", ("example_task_group",), "task groups"),
    ExampleFile(
        f"{CORE}.example_task_group_decorator", ("example_task_group_decorator",), "task groups"
    ),
    ExampleFile(
        f"{CORE}.example_task_state_store_async",
        ("example_task_state_store_async",),
        "state of a task that is a coroutine",
    ),
    ExampleFile(f"{CORE}.tutorial", ("tutorial",), "the first tutorial"),
    ExampleFile(f"{CORE}.tutorial_dag", ("tutorial_dag",), "XCom between operators"),
    ExampleFile(
        f"{STANDARD}.example_measurement_correction_decorator",
        ("example_measurement_correction_decorator",),
        "TaskFlow",
    ),
    ExampleFile(
        f"{STANDARD}.example_measurement_correction_operator",
        ("example_measurement_correction_operator",),
        "PythonOperator",
    ),
    ExampleFile(
        f"{STANDARD}.example_short_circuit_decorator",
        ("example_short_circuit_decorator",),
        "short circuit",
    ),
)

# All others of Airflow 3.3, and why nothing is to be compared.
LEFT_OUT = {
    f"{CORE}.example_asset_allow_teams": "needs teams",
    f"{CORE}.example_asset_partition": "needs a plugin, and schedules that go on",
    f"{CORE}.example_asset_with_watchers": "waits until somebody deletes a file",
    f"{CORE}.example_branch_python_dop_operator_3": "chooses by the minute, waits for its past",
    f"{CORE}.example_custom_weight": "needs a plugin",
    f"{CORE}.example_dag_decorator": "asks a server on the internet",
    f"{CORE}.example_inlet_event_extra": "tells of the events that other DAGs have made so far",
    f"{CORE}.example_kubernetes_executor": "needs Kubernetes",
    f"{CORE}.example_local_kubernetes_executor": "needs Kubernetes",
    f"{CORE}.example_params_ui_tutorial": "has a param that a person has to give",
    f"{CORE}.example_retry_policy": "asks a server on the internet",
    f"{CORE}.example_task_state_store_mapped": "fails at random",
    f"{CORE}.example_workday_timetable": "needs a plugin",
    f"{CORE}.tutorial_objectstorage": "asks a server on the internet",
    f"{CORE}.tutorial_taskflow_api_virtualenv": "installs packages",
    f"{STANDARD}.example_bash_decorator": "chooses at random",
    f"{STANDARD}.example_branch_datetime_operator": "chooses by the time of day",
    f"{STANDARD}.example_branch_day_of_week_operator": "chooses by the day",
    f"{STANDARD}.example_branch_operator": "installs packages, chooses at random",
    f"{STANDARD}.example_branch_operator_decorator": "installs packages, chooses at random",
    f"{STANDARD}.example_external_task_child_deferrable": "waits for another DAG's schedule",
    f"{STANDARD}.example_external_task_marker_dag": "waits for another DAG's schedule",
    f"{STANDARD}.example_external_task_parent_deferrable": "waits for another DAG's schedule",
    f"{STANDARD}.example_hitl_operator": "waits for a person",
    f"{STANDARD}.example_python_decorator": "installs packages",
    f"{STANDARD}.example_python_operator": "installs packages",
    f"{STANDARD}.example_sensors": "waits for a time of day",
}


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


def installed_modules() -> set[str]:
    """Every file of examples that the installed Airflow and its standard provider have."""
    return {
        f"{package}.{path.stem}"
        for package in (CORE, STANDARD)
        for path in _package_folder(package).glob("*.py")
        if path.stem != "__init__"
    }


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
