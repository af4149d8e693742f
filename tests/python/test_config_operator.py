# SPDX-License-Identifier: Apache-2.0
"""Arguments, masking and events of what DAGs use for configuration. No I/O."""

from __future__ import annotations

import pytest
from airflow.sdk.log import redact

from zk_executor.config.masking import is_sensitive, mask
from zk_executor.operators.config import ZookeeperConfigOperator
from zk_executor.secrets.zookeeper import ZookeeperSecretsBackend, candidates
from zk_executor.sensors.config import ZookeeperConfigSensor
from zk_executor.triggers.zookeeper import ZnodeChangedTrigger, is_met


@pytest.mark.parametrize(
    "arguments",
    [
        {"action": "change"},
        {"action": "set"},
        {"action": "apply"},
        {"action": "rollback"},
    ],
)
def test_an_operator_without_what_it_needs_fails_when_the_dag_is_parsed(arguments) -> None:
    with pytest.raises(ValueError, match="action"):
        ZookeeperConfigOperator(task_id="t", path="/a", **arguments)


def test_secret_keys_are_those_that_airflow_hides() -> None:
    assert is_sensitive("db/password")
    assert is_sensitive("api_key/eu")
    assert not is_sensitive("db/port")


def test_secrets_are_masked_when_a_template_is_rendered() -> None:
    operator = ZookeeperConfigOperator(
        task_id="t",
        action="apply",
        path="/a",
        tree={"db": {"password": "{{ 'rendered-' ~ 'secret' }}", "host": "plain-host"}},
    )
    operator.render_template_fields({})
    assert operator.tree["db"]["password"] == "rendered-secret"
    assert redact("it is rendered-secret at plain-host") == "it is *** at plain-host"


def test_secrets_in_yaml_and_whatever_is_called_sensitive_are_masked() -> None:
    mask("db:\n  token: token-in-yaml\n  host: host-in-yaml\n")
    mask("all-of-it-is-secret", everything=True)
    assert redact("token-in-yaml host-in-yaml") == "*** host-in-yaml"
    assert redact("all-of-it-is-secret") == "***"


def test_a_sensor_waits_for_one_thing() -> None:
    with pytest.raises(ValueError, match="one of"):
        ZookeeperConfigSensor(task_id="t", path="/a", equals="1", changed_since=3)


def test_a_trigger_survives_its_serialization() -> None:
    trigger = ZnodeChangedTrigger("/a/b", conn_id="c", condition="equals", value="5", once=True)
    path, arguments = trigger.serialize()
    assert path == f"{ZnodeChangedTrigger.__module__}.ZnodeChangedTrigger"
    assert ZnodeChangedTrigger(**arguments).serialize() == trigger.serialize()


@pytest.mark.parametrize(
    "arguments",
    [{"condition": "is"}, {"condition": "equals"}, {"condition": "exists", "value": "1"}],
)
def test_a_trigger_that_cannot_fire_is_refused(arguments) -> None:
    with pytest.raises(ValueError, match="condition"):
        ZnodeChangedTrigger("/a", **arguments)


def test_a_configuration_is_watched_at_its_head() -> None:
    assert ZnodeChangedTrigger("/a", tree=True).node == "/a/.config-history"
    assert ZnodeChangedTrigger("/", tree=True).node == "/.config-history"
    assert ZnodeChangedTrigger("/a").node == "/a"


def test_conditions_are_about_the_whole_text() -> None:
    assert is_met("equals", "on", b"on")
    assert not is_met("equals", "on", b"one")
    assert is_met("matches", "o.*", b"one")
    assert not is_met("matches", "o", b"one")
    assert not is_met("equals", "", None)
    # What is no text is no text that looks like its description, either.
    assert not is_met("matches", ".*", b"\xff")
    assert not is_met("equals", "<1 bytes>", b"\xff")
    for value, stored in ((5, b"5"), (True, b"true"), ([1, "x"], b'[1, "x"]'), (b"\xff", b"\xff")):
        trigger = ZnodeChangedTrigger("/a", condition="equals", value=value)
        assert is_met("equals", trigger.value, stored)
        assert ZnodeChangedTrigger(**trigger.serialize()[1]).value == trigger.value


def test_a_trigger_tells_each_change_once() -> None:
    changed = ZnodeChangedTrigger("/a")
    assert not changed._is_true(b"", 5, None)
    assert not changed._is_true(b"", 5, 5)
    assert changed._is_true(b"", 6, 5)
    assert changed._is_true(None, 0, 5)
    equals = ZnodeChangedTrigger("/a", condition="equals", value="x")
    assert equals._is_true(b"x", 5, None)
    assert not equals._is_true(b"x", 5, 5)


def test_names_become_paths_of_which_none_reaches_into_another_team() -> None:
    assert candidates("/v", "a", None) == ["/v/a"]
    assert candidates("/v", "a", "red") == ["/v/red/a", "/v/a"]
    assert candidates("/v", "red/a%", None) == ["/v/red%2Fa%25"]
    for name in ("", ".", "..", "a\n"):
        assert candidates("/v", name, None) == []


def test_a_backend_says_which_path_is_none() -> None:
    with pytest.raises(ValueError, match="variables_path"):
        ZookeeperSecretsBackend(variables_path="airflow/variables")


def test_a_kind_of_secret_can_be_left_to_others() -> None:
    backend = ZookeeperSecretsBackend(connections_path=None, variables_path=None, config_path=None)
    assert backend.get_conn_value("a") is None
    assert backend.get_variable("a") is None
    assert backend.get_config("a") is None
