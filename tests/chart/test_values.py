# SPDX-License-Identifier: Apache-2.0
"""Every value of the chart changes what its description says."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from changes import CHANGES, Change
from rendering import CHART, Manifests, Refused, Values, at, merged, render

import chart_reference

TEXT = (CHART / "values.yaml").read_text()
DEFAULTS: Values = yaml.safe_load(TEXT)
SAID = chart_reference.comments(TEXT)
LEAVES = [".".join(path) for path, _ in chart_reference.leaves(DEFAULTS, SAID)]


def put(path: str, value: Any) -> Values:
    """Values with just this one."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.path)
def test_value_changes_what_it_says(change: Change) -> None:
    try:
        before = render(change.base)
    except Refused:
        before = Manifests()  # only together with the value is it something
    found = [
        one
        for one in before
        if one["kind"] == change.kind and one["metadata"]["name"].endswith(change.name)
    ]
    if len(found) == 1:
        assert at(found[0], change.where) != change.expected, "it is so without the value, too"
    after = render(merged(change.base, put(change.path, change.value)))
    assert at(after.one(change.kind, change.name), change.where) == change.expected


def test_every_value_has_a_change() -> None:
    tried = {change.path for change in CHANGES}
    missing = [
        leaf for leaf in LEAVES if not any(t == leaf or t.startswith(f"{leaf}.") for t in tried)
    ]
    assert not missing
    assert not [
        path
        for path in tried
        if not any(path == one or path.startswith(f"{one}.") for one in LEAVES)
    ]


def test_a_set_overrides_the_defaults_with_what_it_says_alone() -> None:
    manifests = render(
        {
            "workers": {
                "queues": ["a", "b"],
                "nodeSelector": {"disk": "ssd"},
                "livenessProbe": {"periodSeconds": 9},
                "sets": [
                    {
                        "name": "other",
                        "queues": ["c"],
                        "nodeSelector": {"zone": "1"},
                        "livenessProbe": {"timeoutSeconds": 8},
                    }
                ],
            }
        }
    )
    pod = manifests.one("StatefulSet", "-other")["spec"]["template"]["spec"]
    assert at(pod, "containers[worker].env[ZK_WORKER_QUEUES].value") == "c"
    assert pod["nodeSelector"] == {"disk": "ssd", "zone": "1"}
    probe = at(pod, "containers[worker].livenessProbe")
    assert (probe["periodSeconds"], probe["timeoutSeconds"]) == (9, 8)
    assert at(manifests.one("StatefulSet", "-worker"), "spec.template.spec.nodeSelector") == {
        "disk": "ssd"
    }


@pytest.mark.parametrize(
    ("said", "where", "expected"),
    [
        ({"persistence": {"enabled": False}}, "spec.volumeClaimTemplates", None),
        ({"replicas": 0}, "spec.replicas", 0),
        ({"nodeSelector": {}}, "spec.template.spec.nodeSelector", None),
        ({"tolerations": []}, "spec.template.spec.tolerations", None),
        ({"priorityClassName": ""}, "spec.template.spec.priorityClassName", None),
        ({"safeToEvict": None}, "spec.template.metadata.annotations.x", None),
    ],
    ids=lambda one: str(one)[:40],
)
def test_a_set_can_take_back_what_the_defaults_say(said: Values, where: str, expected: Any) -> None:
    defaults: Values = {
        "replicas": 3,
        "nodeSelector": {"a": "b"},
        "tolerations": [{"operator": "Exists"}],
        "priorityClassName": "p",
    }
    manifests = render({"workers": {**defaults, "sets": [{"name": "s", **said}]}})
    assert at(manifests.one("StatefulSet", "-s"), where) == expected


def test_pods_of_two_sets_are_told_apart_by_their_selectors() -> None:
    manifests = render({"workers": {"sets": [{"name": "a"}, {"name": "b"}]}})
    selectors = [
        one["spec"]["selector"]["matchLabels"] for one in manifests if one["kind"] == "StatefulSet"
    ]
    labels = [
        one["spec"]["template"]["metadata"]["labels"]
        for one in manifests
        if one["kind"] == "StatefulSet"
    ]
    for number, selector in enumerate(selectors):
        chosen = [n for n, label in enumerate(labels) if selector.items() <= label.items()]
        assert chosen == [number]


@pytest.mark.parametrize("leaf", [leaf for leaf in LEAVES if leaf.startswith("workers.")])
def test_a_set_can_say_what_the_defaults_can(leaf: str) -> None:
    """Of each value of workers: it is allowed in a set, and there is nothing beside it."""
    name = leaf.split(".")[1]
    if name in chart_reference.NOT_IN_A_SET:
        with pytest.raises(Refused, match=name):
            render({"workers": {"sets": [{"name": "s", name: DEFAULTS["workers"][name]}]}})
        return
    value = DEFAULTS
    for key in leaf.split("."):
        value = value[key]
    render({"workers": {"sets": [{"name": "s", **put(leaf, value)["workers"]}]}})


@pytest.mark.parametrize("scaler", ["keda", "hpa"])
def test_what_scales_a_set_owns_its_number(scaler: str) -> None:
    values = {"workers": {scaler: {"enabled": True}, "replicas": 3}}
    values["workers"]["hpa"] = {**values["workers"].get("hpa", {}), "metrics": [{"type": "Pods"}]}
    assert "replicas" not in render(values).one("StatefulSet")["spec"]


def test_keda_asks_the_exporter_of_the_release_for_all_queues_of_the_set() -> None:
    manifests = render(
        {"workers": {"queues": ["a", "b c&d"], "slots": 6, "keda": {"enabled": True}}}
    )
    (trigger,) = manifests.one("ScaledObject")["spec"]["triggers"]
    service = manifests.one("Service", "-exporter")
    name, port = service["metadata"]["name"], service["spec"]["ports"][0]["port"]
    url = f"http://{name}.data.svc:{port}/scale?queue=a&queue=b+c%26d"
    assert parse_qs(urlsplit(url).query) == {"queue": ["a", "b c&d"]}, "as the exporter reads it"
    assert trigger["metadata"] == {"url": url, "valueLocation": "load", "targetValue": "6"}
