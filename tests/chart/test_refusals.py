# SPDX-License-Identifier: Apache-2.0
"""Values that are missing, misspelt or contradict each other are refused, with a sentence."""

from __future__ import annotations

import re

import pytest
from rendering import MINIMUM, Refused, Values, merged, render, text_of

GIT: Values = {"enabled": True, "repo": "r"}

REFUSALS: list[tuple[Values, str]] = [
    ({"image": {"repository": ""}}, "image.repository must be set"),
    ({"zookeeper": {"hosts": ""}}, "zookeeper.hosts must be set"),
    ({"zookeeper": {"tryOut": {"enabled": True}}}, "contradict each other"),
    (
        {"airflow": {"apiSecretKey": {"secretName": ""}}},
        "airflow.apiSecretKey.secretName must be set",
    ),
    ({"airflow": {"executionApiUrl": ""}}, "airflow.executionApiUrl must be set"),
    ({"airflow": {"config": {"api": {"secret_key": "x"}}}}, "is a secret: name the Secret"),
    (
        {"airflow": {"config": {"zk_executor": {"digest_auth": "x"}}}},
        "is a secret: name the Secret",
    ),
    ({"airflow": {"config": {"zk_executor": {"encryption_key": "x"}}}}, "is a secret: name"),
    ({"airflow": {"config": {"api_auth": {"jwt_secret": "x"}}}}, "a secret that no worker needs"),
    ({"airflow": {"config": {"database": {"sql_alchemy_conn": "x"}}}}, "that no worker needs"),
    ({"airflow": {"config": {"core": {"fernet_key": "x"}}}}, "a secret that no worker needs"),
    ({"airflow": {"env": [{"name": "AIRFLOW__API__SECRET_KEY", "value": "x"}]}}, "in clear"),
    ({"workers": {"env": [{"name": "AIRFLOW__API__SECRET_KEY", "value": "x"}]}}, "in clear"),
    ({"dags": {"gitSync": {"enabled": True}}}, "dags.gitSync.repo must be set"),
    ({"dags": {"gitSync": GIT, "persistence": {"existingClaim": "c"}}}, "contradict each other"),
    ({"dags": {"gitSync": {**GIT, "credentialsSecret": "a", "sshKeySecret": "b"}}}, "contradict"),
    ({"workers": {"enableDefault": False}}, "there would be no workers"),
    ({"workers": {"sets": [{"name": "a"}, {"name": "a"}]}}, "two sets .* have the name a"),
    ({"workers": {"queues": ["a", "a"]}}, "workers.queues names a queue twice"),
    ({"workers": {"sets": [{"name": "a", "queues": ["b", "b"]}]}}, r"workers.sets\[a\].queues"),
    (
        {"workers": {"kind": "Deployment", "volumeClaimTemplates": [{"metadata": {}}]}},
        "needs workers.kind=StatefulSet",
    ),
    ({"workers": {"drainTimeout": 590}}, "do not fit into terminationGracePeriodSeconds"),
    ({"workers": {"terminationGracePeriodSeconds": 20}}, "must be at least 15 more than killGrace"),
    (
        {"workers": {"podDisruptionBudget": {"enabled": True, "minAvailable": 1}}},
        "minAvailable and maxUnavailable contradict",
    ),
    (
        {"workers": {"podDisruptionBudget": {"enabled": True, "maxUnavailable": None}}},
        "needs minAvailable or maxUnavailable",
    ),
    ({"workers": {"keda": {"enabled": True}, "hpa": {"enabled": True}}}, "contradict each other"),
    ({"workers": {"keda": {"enabled": True, "minReplicas": 11}}}, "minReplicas .11. is more than"),
    ({"workers": {"hpa": {"enabled": True, "minReplicas": 11}}}, "minReplicas .11. is more than"),
    ({"workers": {"hpa": {"enabled": True}}}, "hpa.metrics must be set"),
    (
        {"workers": {"keda": {"enabled": True}}, "exporter": {"enabled": False}},
        "needs exporter.enabled=true, or keda.url",
    ),
    # The schema's.
    ({"worker": {}}, "worker"),
    ({"workers": {"slot": 3}}, "slot"),
    ({"workers": {"sets": [{"name": "a", "slot": 3}]}}, "slot"),
    ({"workers": {"sets": [{"slots": 3}]}}, "name"),
    ({"workers": {"sets": [{"name": "Not_a_label"}]}}, "pattern|match"),
    ({"workers": {"slots": 0}}, "slots"),
    ({"workers": {"slots": 3000}}, "slots"),
    ({"workers": {"queues": []}}, "queues"),
    ({"workers": {"queues": ["a,b"]}}, "queues"),
    ({"workers": {"kind": "DaemonSet"}}, "kind"),
    ({"workers": {"replicas": "three"}}, "replicas"),
    ({"workers": {"resources": {"limit": {}}}}, "limit"),
    ({"workers": {"securityContext": {"readOnlyRootFileSystem": True}}}, "readOnlyRootFileSystem"),
    ({"workers": {"env": [{"value": "x"}]}}, "name"),
    ({"zookeeper": {"root": "no-slash"}}, "root"),
    ({"zookeeper": {"digestAuth": {"password": "x"}}}, "password"),
]


@pytest.mark.parametrize(("values", "sentence"), REFUSALS, ids=lambda one: str(one)[:60])
def test_values_are_refused_with_a_sentence(values: Values, sentence: str) -> None:
    with pytest.raises(Refused) as refused:
        render(values)
    assert re.search(sentence, str(refused.value)), refused.value
    assert "nil pointer" not in str(refused.value)


def test_nothing_said_is_refused_with_the_first_thing_to_say() -> None:
    with pytest.raises(Refused, match=r"image\.repository must be set"):
        text_of({}, complete=True)


@pytest.mark.parametrize("source", ["airflow", "workers"])
def test_what_env_from_may_bring_need_not_be_said(source: str) -> None:
    values = merged(
        MINIMUM, {"airflow": {"executionApiUrl": "", "apiSecretKey": {"secretName": ""}}}
    )
    render(merged(values, {source: {"envFrom": [{"secretRef": {"name": "all"}}]}}))
