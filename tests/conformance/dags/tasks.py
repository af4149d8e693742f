# SPDX-License-Identifier: Apache-2.0
"""The DAG of the conformance tests: a task per behaviour, told its details by a plan.

A task's plan is the JSON file plans/<id of the task instance>.json below CONFORMANCE_FOLDER; what
it learned that must not pass through the log goes into answers/<id>.jsonl there.
"""

from __future__ import annotations

import importlib
import inspect
from datetime import datetime, timezone

from airflow.providers.standard.operators.python import PythonOperator, ShortCircuitOperator
from airflow.sdk import DAG

MODULES = ("task_ends", "task_messages", "task_output", "task_processes", "task_values")

with DAG("conformance", start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), schedule=None):
    for module in MODULES:
        for name, function in inspect.getmembers(
            importlib.import_module(f"conformance_tasks.{module}"), inspect.isfunction
        ):
            if function.__module__.endswith(module) and not name.startswith("_"):
                PythonOperator(task_id=name, python_callable=function)

    from conformance_tasks import task_ends, task_output

    PythonOperator(
        task_id="templated",
        python_callable=task_output.templated_values,
        op_kwargs={
            "text": "{{ ti.task_id }} of {{ dag_run.run_id }}",
            "long": "{{ 'x' * 9000 }}",
            "nested": {"z": ["{{ ds }}", 1, 1.0, None], "a": {"é": "{{ '☃' }}"}},
        },
    )
    PythonOperator.partial(
        task_id="mapped",
        python_callable=task_output.mapped_value,
        map_index_template="{{ ti.task_id }} number {{ ti.map_index }} é",
    ).expand(op_args=[["zero"], ["one"], ["two"]])
    ShortCircuitOperator(task_id="short_circuit", python_callable=lambda: False) >> [
        PythonOperator(task_id=f"skipped_{number}", python_callable=print) for number in (1, 2)
    ]
    task_ends.OnKill(task_id="on_kill_ends_it")
    task_ends.Overtime(task_id="callback_never_ends")
