# SPDX-License-Identifier: Apache-2.0
"""What operators and sensors make of their arguments when they are rendered. No I/O."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.log import redact

from zk_executor import exceptions
from zk_executor.operators import arguments
from zk_executor.operators.atomic import ZookeeperAtomicOperator
from zk_executor.operators.cluster import ZookeeperClusterOperator
from zk_executor.operators.config import ZookeeperConfigOperator, is_file_name
from zk_executor.sensors.cluster import ZookeeperClusterSensor
from zk_executor.sensors.config import ZookeeperConfigSensor

MISSING = "{{ nothing_there }}"
STORE: Any = None  # what is refused is refused before the store is asked


def dag_in(folder: Path, **arguments: Any) -> DAG:
    return DAG(
        "d",
        schedule=None,
        start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc),
        template_searchpath=str(folder),
        **arguments,
    )


def test_only_a_trees_file_is_read_and_no_other_text_that_ends_like_one(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("host: {{ host }}\n")
    texts = {
        "path": "/app/y4.yaml",
        "key": "app.yml",
        "value": "/etc/app/settings.yaml",
        "comment": "from prod.yaml",
    }
    with dag_in(tmp_path):
        one = ZookeeperConfigOperator(task_id="one", action="set", **texts)
        trees = [
            ZookeeperConfigOperator(task_id=f"t{number}", action="apply", path="/a", tree=tree)
            for number, tree in enumerate(
                (
                    {"settings": "/etc/app/settings.yml", "deep": {"list": ["a.yaml"]}},
                    "settings: /etc/app/settings.yaml",
                    "{settings: a.yaml",
                    "{{ text }}",
                )
            )
        ]
        file = ZookeeperConfigOperator(
            task_id="file", action="apply", path="/a", tree="{{ name }}.yaml"
        )
    for operator in (one, file, *trees):
        operator.resolve_template_files()
        operator.render_template_fields(
            {"name": "config", "host": "h1", "text": "a: from-xcom.yaml"}  # type: ignore[arg-type]
        )
    assert {name: getattr(one, name) for name in texts} == texts
    assert trees[0].tree == {"settings": "/etc/app/settings.yml", "deep": {"list": ["a.yaml"]}}
    assert [one.tree for one in trees[1:]] == [
        "settings: /etc/app/settings.yaml",
        "{settings: a.yaml",
        "a: from-xcom.yaml",
    ]
    assert file.tree == "host: h1"
    assert is_file_name("conf/a.yml") and not is_file_name({"a": "b.yaml"})


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("name", ["expected_revision", "revision"])
@pytest.mark.parametrize(
    "template", [MISSING, "{{ none }}", "{{ '' }}", "{{ 'four' }}", "{{ -1 }}"]
)
def test_a_guard_that_renders_to_nothing_is_refused_and_not_left_out(
    tmp_path: Path, native: bool, name: str, template: str
) -> None:
    import jinja2

    action = "rollback" if name == "revision" else "set"
    extra = {"value": "x", "key": "a"} if action == "set" else {}
    with dag_in(
        tmp_path, template_undefined=jinja2.Undefined, render_template_as_native_obj=native
    ):
        operator = ZookeeperConfigOperator(
            task_id="t",
            action=action,
            path="/a",
            zookeeper_conn_id="c",
            **extra,
            **{name: template},
        )
    operator.render_template_fields({"none": None})  # type: ignore[arg-type]
    with pytest.raises(exceptions.ZookeeperInvalidValue, match=f"'c'.*/a.*{name}"):
        operator._plan(STORE)


def test_a_guard_that_is_given_as_none_is_refused_and_one_that_is_not_given_is_none() -> None:
    def make(**guard: Any) -> ZookeeperConfigOperator:
        return ZookeeperConfigOperator(
            task_id="t", action="set", path="/a", key="k", value="v", **guard
        )

    assert make()._number("expected_revision") is None
    assert make(expected_revision="5")._number("expected_revision") == 5
    # As a mapped task gives it whose XCom was not there.
    for wrong in (None, "", "None", True, 1.5, [1], "1e3", "٣"):
        with pytest.raises(exceptions.ZookeeperInvalidValue, match="expected_revision"):
            make(expected_revision=wrong)._number("expected_revision")
    with pytest.raises(ValueError, match="rollback needs revision"):
        ZookeeperConfigOperator(task_id="t", action="rollback", path="/a", revision=None)


def test_a_value_that_renders_to_none_is_not_stored(tmp_path: Path) -> None:
    with dag_in(tmp_path, render_template_as_native_obj=True):
        operator = ZookeeperConfigOperator(
            task_id="t", action="set", path="/a", key="k", value="{{ none }}"
        )
    operator.render_template_fields({"none": None})  # type: ignore[arg-type]
    with pytest.raises(exceptions.ZookeeperInvalidValue, match="/a: value is None"):
        operator._plan(STORE)


@pytest.mark.parametrize("condition", ["equals", "matches", "changed_since"])
def test_a_sensor_does_not_wait_for_something_else_when_its_condition_renders_to_none(
    tmp_path: Path, condition: str
) -> None:
    with dag_in(tmp_path, render_template_as_native_obj=True):
        sensor = ZookeeperConfigSensor(task_id="t", path="/a", **{condition: "{{ none }}"})
    sensor.render_template_fields({"none": None})  # type: ignore[arg-type]
    with pytest.raises(exceptions.ZookeeperInvalidValue, match=f"/a: {condition} is None"):
        if condition == "changed_since":
            arguments.revision(condition, sensor.changed_since, sensor._refuse)
        else:
            sensor._condition()


def test_a_member_that_renders_to_nothing_is_refused() -> None:
    sensor = ZookeeperClusterSensor(task_id="t", group="g", member=MISSING)
    for rendered in (None, "", "None"):
        sensor.member = rendered
        with pytest.raises(exceptions.ZookeeperError, match="member is"):
            sensor._met()
    for wrong in (-1, True, "2"):
        with pytest.raises(exceptions.ZookeeperError, match="at_least"):
            ZookeeperClusterSensor(task_id="t", group="g", at_least=wrong)


@pytest.mark.parametrize(
    "keys",
    ["berlin", "['berlin', 'paris']", '{"a": 1}', '"a"', "5", "", None, {"a"}, b"[]", 5],
)
def test_keys_that_are_no_list_are_refused_and_not_taken_apart(keys: Any) -> None:
    operator = ZookeeperClusterOperator(task_id="t", action="route", group="g", keys=keys)
    with pytest.raises(exceptions.ZookeeperError, match="route of g.*keys must be a list.*tojson"):
        operator._route(1, [])


def test_keys_are_a_list_or_its_json(monkeypatch: pytest.MonkeyPatch) -> None:
    from zk_executor import _core

    monkeypatch.setattr(
        _core, "ring_preference", lambda **given: [[key] for key in given["keys"]], raising=False
    )
    for keys in (["berlin", "5"], ("berlin", 5), '["berlin", 5]'):
        operator = ZookeeperClusterOperator(task_id="t", action="route", group="g", keys=keys)
        assert operator._route(1, []) == {"berlin": ["berlin"], "5": ["5"]}
    for wrong in ([None], [1.5], [["a"]], ["\ud800"], [True]):
        with pytest.raises(exceptions.ZookeeperError, match="route of g.*keys"):
            ZookeeperClusterOperator(task_id="t", action="route", group="g", keys=wrong)._route(
                1, []
            )
    for count in (0, -1, "2", True):
        with pytest.raises(exceptions.ZookeeperError, match="count is"):
            operator._route(count, [])


def test_operations_are_a_list_or_its_json_and_name_what_is_wrong() -> None:
    class Recorded:
        def apply(self, steps: Any) -> Any:
            self.steps = steps
            raise exceptions.ZookeeperError("far enough")

    for given in ([{"verb": "set", "path": "/a", "value": 5}], '[{"verb": "set", "path": "/a"}]'):
        operator = ZookeeperAtomicOperator(task_id="t", action="transaction", operations=given)
        atomic: Any = Recorded()
        with pytest.raises(exceptions.ZookeeperError, match="far enough"):
            operator._transaction(atomic)
        assert [(one.verb, one.path, one.version) for one in atomic.steps] == [("set", "/a", -1)]
    for wrong, says in (
        ("[{'verb': 'set'}]", "must be a list"),
        (["set"], "operation 1"),
        ([{"verb": "set", "path": "/a", "version": None}], "/a version is None"),
        ([{"verb": "set", "path": "/a", "version": ""}], "/a version"),
        ([{"verb": "set", "path": "/a", "value": object()}], "/a: a value of type object"),
    ):
        operator = ZookeeperAtomicOperator(task_id="t", action="transaction", operations=wrong)
        with pytest.raises(exceptions.ZookeeperError, match=says):
            operator._transaction(Recorded())


def test_a_secret_that_is_set_atomically_is_masked_when_it_is_rendered() -> None:
    operator = ZookeeperAtomicOperator(
        task_id="t", action="create_if_absent", path="/app/password", value="{{ 'atomic-secret' }}"
    )
    operator.render_template_fields({})
    assert redact("it is atomic-secret") == "it is ***"
