# SPDX-License-Identifier: Apache-2.0
"""Manifests of each ci/*-values.yaml: what an API server takes, and what a cluster may ask for."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from rendering import (
    CHART,
    KUBECONFORM,
    NEWEST,
    OLDEST,
    SCHEMAS,
    Manifests,
    at,
    helm,
    render,
    text_of,
)

import chart_reference

# Kinds of operators, which the API server alone does not know.
OF_OTHERS = ("PodMonitor", "PrometheusRule", "ScaledObject", "ServiceMonitor")
EXAMPLES = sorted(CHART.glob("ci/*-values.yaml"))


def kubeconform(text: str) -> subprocess.CompletedProcess[str]:
    location = f"{SCHEMAS}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    return subprocess.run(
        [
            str(KUBECONFORM),
            "-strict",
            "-summary",
            f"-skip={','.join(OF_OTHERS)}",
            f"-schema-location={location}",
            "-",
        ],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(params=EXAMPLES, ids=lambda path: path.name.removesuffix("-values.yaml"))
def example(request: pytest.FixtureRequest) -> Path:
    return request.param


def objects(example: Path) -> Manifests:
    return render(yaml.safe_load(example.read_text()), complete=True)


def pods(manifests: Manifests) -> list[dict[str, Any]]:
    """The specs of all pods."""
    templates = [at(one, "spec.template.spec") for one in manifests]
    return [one for one in templates if one] + [m["spec"] for m in manifests if m["kind"] == "Pod"]


def test_example_fits_the_schemas_of_the_api_server(example: Path) -> None:
    done = kubeconform(text_of(yaml.safe_load(example.read_text()), complete=True))
    assert done.returncode == 0, done.stdout + done.stderr
    skipped = sum(kind in OF_OTHERS for kind in objects(example).kinds())
    assert f"Invalid: 0, Errors: 0, Skipped: {skipped}" in done.stdout


def test_values_in_the_documentation_fit_the_schemas_of_the_api_server() -> None:
    text = (CHART.parents[1] / "docs" / "helm.md").read_text()
    blocks = [yaml.safe_load(b) for b in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    (values,) = [block for block in blocks if "zookeeper" in block]
    assert kubeconform(text_of(values, complete=True)).returncode == 0


def test_schemas_of_the_api_server_refuse_a_misspelt_field() -> None:
    text = text_of({})
    assert "readOnlyRootFilesystem" in text
    done = kubeconform(text.replace("readOnlyRootFilesystem", "readOnlyRootFileSystem"))
    assert done.returncode == 1, done.stdout


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_example_passes_helm_lint(example: Path, version: str) -> None:
    helm("lint", str(CHART), "--strict", f"--kube-version={version}", f"--values={example}")


def test_example_renders_for_the_oldest_kubernetes(example: Path) -> None:
    assert text_of(yaml.safe_load(example.read_text()), complete=True, version=OLDEST)


def test_names_are_unique_and_short_enough(example: Path) -> None:
    seen = [(one["kind"], one["metadata"]["name"]) for one in objects(example)]
    assert len(seen) == len(set(seen))
    assert all(len(name) <= 63 for _, name in seen)


def test_every_object_is_in_the_namespace_of_the_release(example: Path) -> None:
    assert {one["metadata"].get("namespace") for one in objects(example)} == {"data"}


def test_pods_satisfy_the_restricted_pod_security_standard(example: Path) -> None:
    """As its text says; https://kubernetes.io/docs/concepts/security/pod-security-standards."""
    for pod in pods(objects(example)):
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["seccompProfile"]["type"] == "RuntimeDefault"
        assert not any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC"))
        assert not any("hostPath" in volume for volume in pod.get("volumes", ()))
        for container in [*pod["containers"], *pod.get("initContainers", ())]:
            if container["name"] in ("first", "beside"):
                continue  # of ci/extras-values.yaml, whose contexts are the user's
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, container["name"]
            assert own["capabilities"]["drop"] == ["ALL"], container["name"]
            assert own.get("runAsUser") != 0, container["name"]


def test_every_mount_of_our_containers_has_a_volume(example: Path) -> None:
    manifests = objects(example)
    for one in manifests:
        pod = at(one, "spec.template.spec") or (one["spec"] if one["kind"] == "Pod" else None)
        if not pod:
            continue
        claims = [
            claim["metadata"]["name"] for claim in one["spec"].get("volumeClaimTemplates", ())
        ]
        volumes = {volume["name"] for volume in pod.get("volumes", ())} | set(claims)
        for container in [*pod["containers"], *pod.get("initContainers", ())]:
            mounts = container.get("volumeMounts", [])
            assert {mount["name"] for mount in mounts} <= volumes
            paths = [mount["mountPath"] for mount in mounts]
            assert len(paths) == len(set(paths)), container["name"]


def test_no_secret_is_in_a_manifest(example: Path) -> None:
    """Secrets are named, never made; and of what Airflow calls secret only references are given."""
    manifests = objects(example)
    assert "Secret" not in manifests.kinds()
    secret = ("SECRET_KEY", "ENCRYPTION_KEY", "DIGEST_AUTH", "PASSWORD")
    for pod in pods(manifests):
        for container in pod["containers"]:
            for variable in container.get("env", ()):
                if variable["name"].endswith(secret):
                    assert "value" not in variable, variable


def test_a_worker_can_drain_within_its_grace_period(example: Path) -> None:
    for one in objects(example):
        if one["metadata"]["labels"].get("app.kubernetes.io/component") != "worker":
            continue
        if pod := at(one, "spec.template.spec"):
            drain = float(at(pod, "containers[worker].env[ZK_WORKER_DRAIN_TIMEOUT].value"))
            grace = float(at(pod, "containers[worker].env[ZK_WORKER_KILL_GRACE].value"))
            assert drain + grace + 5 <= pod["terminationGracePeriodSeconds"]


def test_changed_configuration_restarts_workers() -> None:
    def annotations(values: dict[str, Any]) -> Any:
        return at(render(values).one("StatefulSet"), "spec.template.metadata.annotations")

    same = annotations({})["checksum/config"]
    assert annotations({"labels": {"a": "b"}})["checksum/config"] != same


def test_notes_say_what_to_look_at_and_warn(tmp_path: Path) -> None:
    """helm prints notes only where there is a cluster, so they are rendered as a file here."""
    chart = tmp_path / "zk-executor"
    shutil.copytree(CHART, chart)
    shutil.move(chart / "templates" / "NOTES.txt", chart / "notes.txt")
    (chart / "templates" / "notes.yaml").write_text(
        "kind: Notes\nmetadata: {name: notes}\ntext: {{ tpl (.Files.Get `notes.txt`) . | quote }}\n"
    )

    def notes(example: str) -> str:
        text = helm("template", "rel", str(chart), f"--values={CHART}/ci/{example}-values.yaml")
        return Manifests(filter(None, yaml.safe_load_all(text))).one("Notes")["text"]

    text = notes("sets")
    for part in (
        "rel-zk-executor-worker-gpu (StatefulSet): queues gpu",
        "airflow zk queues",
        "helm",
    ):
        assert part in text
    assert "nobody signs in to ZooKeeper" in text
    assert "It is not for production" in notes("try-out")
    assert "WARNING" not in notes("official-chart")


def test_reference_and_schema_are_what_values_yaml_makes() -> None:
    assert chart_reference.stale() == []


def test_reference_finds_a_value_without_a_description(tmp_path: Path) -> None:
    (tmp_path / "README.in.md").write_text("# x\n")
    (tmp_path / "values.yaml").write_text("# About a.\na: 1\n\nb: 2\n")
    with pytest.raises(chart_reference.InvalidValues, match="b: there is no description"):
        chart_reference.generated(tmp_path)


def test_reference_notices_a_changed_value(tmp_path: Path) -> None:
    for name in ("values.yaml", "README.in.md", "README.md", "values.schema.json"):
        (tmp_path / name).write_text((CHART / name).read_text())
    assert chart_reference.stale(tmp_path) == []
    values = tmp_path / "values.yaml"
    values.write_text(values.read_text().replace("slots: 16", "slots: 17"))
    assert {path.name for path in chart_reference.stale(tmp_path)} == {
        "README.md",
        "values.schema.json",
    }


def test_version_of_the_chart_is_that_of_the_package() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = (CHART.parents[1] / "pyproject.toml").read_text()
    assert f'version = "{chart["appVersion"]}"' in project
