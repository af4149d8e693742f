# SPDX-License-Identifier: Apache-2.0
"""What helm makes of the chart with given values."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "zk-executor"
HELM = ROOT / ".build" / "go-tools" / "bin" / "helm"
KUBECONFORM = HELM.with_name("kubeconform")
SCHEMAS = ROOT / ".build" / "go-tools" / "schemas"
# The oldest that Chart.yaml allows, and that of the schemas.
OLDEST, NEWEST = "1.27.0", "1.37.2"
RELEASE, NAMESPACE = "rel", "data"

Values = dict[str, Any]
MINIMUM: Values = yaml.safe_load((CHART / "ci" / "default-values.yaml").read_text())


class Refused(Exception):
    """Helm made nothing of it; the text is what it said."""


class Manifests(list[dict[str, Any]]):
    """Objects of a release."""

    def one(self, kind: str, name: str = "") -> dict[str, Any]:
        """The one object of that kind whose name ends so. Errors: AssertionError."""
        found = [o for o in self if o["kind"] == kind and o["metadata"]["name"].endswith(name)]
        assert len(found) == 1, [(o["kind"], o["metadata"]["name"]) for o in self]
        return found[0]

    def kinds(self) -> list[str]:
        return [one["kind"] for one in self]


def helm(*arguments: str, values: Values | None = None) -> str:
    """Output of a helm command. Errors: Refused."""
    done = subprocess.run(
        [str(HELM), *arguments, *([] if values is None else ["--values", "-"])],
        input=None if values is None else yaml.safe_dump(values),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Refused(done.stdout + done.stderr)
    return done.stdout


def merged(base: Values, more: Values) -> Values:
    """Base with what more says; maps are merged, None removes."""
    result = dict(base)
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


def text_of(values: Values, *, complete: bool = False, version: str = NEWEST) -> str:
    """The manifests as helm prints them. With complete, values are all that is said."""
    return helm(
        "template",
        RELEASE,
        str(CHART),
        f"--namespace={NAMESPACE}",
        f"--kube-version={version}",
        values=values if complete else merged(MINIMUM, values),
    )


def render(values: Values | None = None, **options: Any) -> Manifests:
    """The objects of a release with these values, beyond those that must be given."""
    return Manifests(filter(None, yaml.safe_load_all(text_of(values or {}, **options))))


def at(thing: Any, path: str) -> Any:
    """What is at a path such as spec.containers[worker].env[A].value; None if nothing is.

    In brackets stands an index, or the name of an element.
    """
    for word in re.findall(r"[^.\[\]]+|\[[^\]]+\]", path):
        if thing is None:
            return None
        if not word.startswith("["):
            thing = thing.get(word.replace("~", "."))
        elif word[1:-1].isdigit():
            thing = thing[int(word[1:-1])] if int(word[1:-1]) < len(thing) else None
        else:
            thing = next((one for one in thing if one.get("name") == word[1:-1]), None)
    return thing
