# SPDX-License-Identifier: Apache-2.0
"""The contract with Airflow: what is installed fulfils it, and what does not ends the start."""

from __future__ import annotations

import sys

import pytest
from airflow import __version__ as airflow_version
from airflow.exceptions import AirflowConfigException
from airflow.executors import workloads
from airflow.executors.base_executor import BaseExecutor

from workloads import callback, connection_test, task
from zk_executor import ZkExecutor, contract, version_compat


def renamed(hook: str) -> object:
    def other(self, nothing_that_we_know=None): ...

    other.__name__ = hook
    return other


def started(core) -> ZkExecutor:
    executor = ZkExecutor()
    executor.job_id = 7
    executor.start()
    return executor


def test_installed_airflow_is_one_that_the_package_names_as_verified():
    assert airflow_version in version_compat.VERIFIED_VERSIONS


def test_installed_airflow_lacks_nothing(core):
    assert list(contract.find_missing(ZkExecutor())) == []


@pytest.mark.parametrize("make", [task, callback, connection_test])
def test_every_type_of_workload_is_queued_by_airflow_under_the_key_that_we_look_for(core, make):
    executor, workload = started(core), make()
    BaseExecutor.queue_workload(executor, workload, session=None)
    key = version_compat.workload_key(executor, workload)
    assert version_compat.is_queued(executor, key)
    assert version_compat.count_queued(executor) == 1
    version_compat.pop_queued(executor, key)
    assert version_compat.count_queued(executor) == 0


@pytest.mark.parametrize("hook", sorted(contract.HOOKS))
def test_start_ends_with_an_error_that_names_the_hook_that_is_gone(core, monkeypatch, hook):
    executor = ZkExecutor()
    monkeypatch.delattr(BaseExecutor, hook)
    with pytest.raises(AirflowConfigException, match=rf"lacks.*BaseExecutor\.{hook}\(\)"):
        executor.start()
    assert core.sessions == []


@pytest.mark.parametrize("hook", sorted(name for name, names in contract.HOOKS.items() if names))
def test_start_ends_with_an_error_that_names_the_argument_that_is_gone(core, monkeypatch, hook):
    executor = ZkExecutor()
    monkeypatch.setattr(BaseExecutor, hook, renamed(hook))
    first = contract.HOOKS[hook][0]
    with pytest.raises(
        AirflowConfigException, match=rf"argument '{first}' of BaseExecutor\.{hook}"
    ):
        executor.start()


@pytest.mark.parametrize("name", sorted(contract.WORKLOADS))
def test_start_ends_with_an_error_that_names_the_workload_that_is_gone(core, monkeypatch, name):
    executor = ZkExecutor()
    monkeypatch.delattr(workloads, name)
    with pytest.raises(AirflowConfigException, match=rf"lacks.*workloads\.{name}"):
        executor.start()


@pytest.mark.parametrize("name", contract.STATE)
def test_start_ends_with_an_error_that_names_the_state_that_is_gone(core, monkeypatch, name):
    executor = ZkExecutor()
    delattr(executor, name)
    with pytest.raises(AirflowConfigException, match=rf"BaseExecutor\(\)\.{name}"):
        executor.start()


def test_start_ends_with_an_error_that_names_the_queues_that_are_gone(core):
    executor = ZkExecutor()
    name = "queued_tasks" if version_compat.WORKLOAD_TYPE is None else "executor_queues"
    delattr(executor, name)
    with pytest.raises(AirflowConfigException, match=rf"BaseExecutor\(\)\.{name}"):
        executor.start()


def test_start_ends_with_an_error_when_airflow_has_workload_types_by_other_names(core, monkeypatch):
    # As ZkExecutor saw 3.4 before it knew where the types are.
    executor = ZkExecutor()
    monkeypatch.setattr(version_compat, "WORKLOAD_TYPE", object())
    with pytest.raises(AirflowConfigException, match=r"WorkloadType\.EXECUTE_TASK"):
        executor.start()


def test_start_ends_with_an_error_when_the_compiled_part_is_missing(core, monkeypatch):
    monkeypatch.setitem(sys.modules, "zk_executor._core", None)
    with pytest.raises(AirflowConfigException, match="compiled part of zk_executor"):
        ZkExecutor().start()


def test_start_says_in_the_log_that_a_version_was_not_verified(core, monkeypatch, caplog):
    monkeypatch.setattr(contract, "airflow_version", "3.4.7")
    started(core)
    assert "not verified with this Airflow" in caplog.text
    assert "airflow=3.4.7" in caplog.text
