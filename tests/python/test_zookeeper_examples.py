# SPDX-License-Identifier: Apache-2.0
"""The examples of locks, atomic changes and the cluster can be parsed and serialized."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

import zk_executor

FOLDER = Path(zk_executor.__file__).parent / "example_dags"


@pytest.mark.parametrize("name", ["locks", "atomic", "cluster"])
def test_an_example_is_a_dag_that_airflow_can_store(name: str) -> None:
    """An operator's parameter that Airflow has too (queue, for instance) shows only here."""
    module = runpy.run_path(str(FOLDER / f"example_zookeeper_{name}.py"))
    dag = module[f"example_zookeeper_{name}"]()
    assert isinstance(dag, DAG)
    assert DagSerialization.to_dict(dag)["dag"]["dag_id"] == f"example_zookeeper_{name}"
