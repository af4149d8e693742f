# SPDX-License-Identifier: Apache-2.0
"""Makes values.schema.json and README.md of the chart from its values.yaml.

tools/chart_reference.py           writes both files
tools/chart_reference.py --check   ends with 1, and names them, if one is not what would be written

In values.yaml the comment above a value is its description, its default says its type, and a line
"# @schema {...}" adds to its schema. There {"kubernetes": KIND} means an object of that kind of
Kubernetes, {"kubernetes": "[]KIND"} a list of them, and {"items": "workers"} a list of sets:
objects that have a name and what is below workers. "# @section TEXT" begins a section of the
README.

Errors: InvalidValues, with the line, for a value without a description.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).resolve().parents[1] / "helm" / "zk-executor"
# Keys of those kinds of Kubernetes that values name, so that a misspelt one is found before a
# server sees it. A kind without keys here is any object.
KINDS: dict[str, tuple[str, ...]] = {
    "Affinity": ("nodeAffinity", "podAffinity", "podAntiAffinity"),
    "DeploymentStrategy": ("type", "rollingUpdate"),
    "EnvFromSource": ("configMapRef", "prefix", "secretRef"),
    "EnvVar": ("name", "value", "valueFrom"),
    "HostAlias": ("ip", "hostnames"),
    "Lifecycle": ("postStart", "preStop", "stopSignal"),
    "LocalObjectReference": ("name",),
    "NetworkPolicyEgressRule": ("ports", "to"),
    "NetworkPolicyPeer": ("ipBlock", "namespaceSelector", "podSelector"),
    "PodSecurityContext": (
        "appArmorProfile",
        "fsGroup",
        "fsGroupChangePolicy",
        "runAsGroup",
        "runAsNonRoot",
        "runAsUser",
        "seLinuxOptions",
        "seccompProfile",
        "supplementalGroups",
        "supplementalGroupsPolicy",
        "sysctls",
    ),
    "ResourceRequirements": ("claims", "limits", "requests"),
    "SecurityContext": (
        "allowPrivilegeEscalation",
        "appArmorProfile",
        "capabilities",
        "privileged",
        "procMount",
        "readOnlyRootFilesystem",
        "runAsGroup",
        "runAsNonRoot",
        "runAsUser",
        "seLinuxOptions",
        "seccompProfile",
    ),
    "StatefulSetPersistentVolumeClaimRetentionPolicy": ("whenDeleted", "whenScaled"),
    "StatefulSetUpdateStrategy": ("type", "rollingUpdate"),
    "Toleration": ("effect", "key", "operator", "tolerationSeconds", "value"),
    "TopologySpreadConstraint": (
        "labelSelector",
        "matchLabelKeys",
        "maxSkew",
        "minDomains",
        "nodeAffinityPolicy",
        "nodeTaintsPolicy",
        "topologyKey",
        "whenUnsatisfiable",
    ),
}
NAMED = ("Container", "EnvVar", "LocalObjectReference", "Volume")
# Of the workers' values: what a set can't say.
NOT_IN_A_SET = ("enableDefault", "sets")


class InvalidValues(Exception):
    """values.yaml can't be understood."""


@dataclass
class Comment:
    """What the lines above a value say."""

    text: str = ""
    schema: dict[str, Any] = field(default_factory=dict)
    section: str = ""


def comments(text: str) -> dict[tuple[str, ...], Comment]:
    """Of each value, by its path, what is written above it."""
    found: dict[tuple[str, ...], Comment] = {}
    path: list[tuple[int, str]] = []
    lines: list[str] = []
    section = ""
    for line in text.splitlines():
        stripped = line.strip()
        if not stripped:
            lines = []
        elif stripped.startswith("# @section "):
            section = stripped.removeprefix("# @section ")
        elif stripped.startswith("#"):
            lines.append(stripped.removeprefix("#").strip())
        elif match := re.match(r"( *)(\w+):", line):
            indent = len(match[1])
            path = [*(one for one in path if one[0] < indent), (indent, match[2])]
            schema: dict[str, Any] = {}
            for one in lines:
                if one.startswith("@schema "):
                    schema |= json.loads(one.removeprefix("@schema "))
            said = " ".join(one for one in lines if not one.startswith("@"))
            found[tuple(name for _, name in path)] = Comment(said, schema, section)
            lines = []
    return found


def schema_of(path: tuple[str, ...], value: Any, said: dict[tuple[str, ...], Comment]) -> Any:
    """The schema of a value and all that is below it."""
    comment = said.get(path, Comment())
    result: dict[str, Any] = {}
    if comment.text:
        result["description"] = comment.text
    extra = dict(comment.schema)
    if kind := extra.pop("kubernetes", None):
        result |= _list_of(kind[2:]) if kind.startswith("[]") else _kind(kind)
    elif isinstance(value, dict):
        result["type"] = "object"
        if value and "additionalProperties" not in extra:
            result["additionalProperties"] = False
            result["properties"] = {
                key: schema_of((*path, key), below, said) for key, below in value.items()
            }
    else:
        result["type"] = _type(path, value, extra)
        if extra.get("items") == "workers":
            extra["items"] = {"$ref": "#/definitions/set"}
    if not isinstance(value, dict) or not value or kind or "additionalProperties" in extra:
        if not comment.text:
            raise InvalidValues(f"{'.'.join(path)}: there is no description above it")
        result["default"] = value
    return result | extra


def _type(path: tuple[str, ...], value: Any, extra: dict[str, Any]) -> Any:
    if "type" in extra:
        return extra["type"]
    for python, name in ((bool, "boolean"), (int, "integer"), (str, "string"), (list, "array")):
        if isinstance(value, python):
            return name
    raise InvalidValues(f"{'.'.join(path)}: nothing says which type it has")


def _kind(kind: str) -> dict[str, Any]:
    result: dict[str, Any] = {"type": "object"}
    if kind in KINDS:
        result |= {"additionalProperties": False, "properties": {key: {} for key in KINDS[kind]}}
    if kind in NAMED:
        result["required"] = ["name"]
    return result


def _list_of(kind: str) -> dict[str, Any]:
    return {"type": "array", "items": _kind(kind)}


def schema(values: dict[str, Any], said: dict[tuple[str, ...], Comment]) -> dict[str, Any]:
    """The whole schema."""
    whole = schema_of((), values, said)
    # Helm hands these to every chart.
    whole["properties"]["global"] = {
        "description": "Values of a parent chart for all of its charts; not used here.",
        "type": "object",
    }
    workers = whole["properties"]["workers"]["properties"]
    name = {
        "description": "Name of the set; it ends the names of its objects.",
        "type": "string",
        "pattern": "^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$",
    }
    one_set = {
        "type": "object",
        "additionalProperties": False,
        "required": ["name"],
        "properties": {"name": name}
        | {key: below for key, below in workers.items() if key not in NOT_IN_A_SET},
    }
    # What a set leaves out has the default of workers, not that of the chart.
    one_set = _without_defaults(one_set)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the chart zk-executor",
        **whole,
        "definitions": {"set": one_set},
    }


def _without_defaults(part: Any) -> Any:
    if isinstance(part, dict):
        return {key: _without_defaults(below) for key, below in part.items() if key != "default"}
    return part


def leaves(values: dict[str, Any], said: dict[tuple[str, ...], Comment]) -> Iterator[tuple]:
    """Path and default of each value that can be set, in the order of the file."""
    pending: list[tuple[tuple[str, ...], Any]] = [((), values)]
    while pending:
        path, value = pending.pop()
        above = _schema(said, path)
        closed = "kubernetes" not in above and "additionalProperties" not in above
        if isinstance(value, dict) and value and closed:
            pending += [((*path, key), below) for key, below in reversed(value.items())]
        else:
            yield path, value


def _schema(said: dict[tuple[str, ...], Comment], path: tuple[str, ...]) -> dict[str, Any]:
    return said[path].schema if path in said else {}


def readme(values: dict[str, Any], said: dict[tuple[str, ...], Comment], head: str) -> str:
    """The page of the chart: README.in.md, and a table of values for each section."""
    lines = [head.rstrip(), "", "## Values", ""]
    section = ""
    for path, value in leaves(values, said):
        comment = said[path]
        if comment.section != section:
            section = comment.section
            lines += ["", f"### {section}", "", "| value | default | what it is |", "|---|---|---|"]
        above = [said[path[:n]].text for n in range(1, len(path)) if path[:n] in said]
        text = " ".join([*(one for one in above if one and path[0] != "workers"), comment.text])
        if path[0] == "workers" and len(path) > 2 and "Probe" in path[1]:
            text = f"{said[path[:2]].text} {comment.text}"
        if "enum" in comment.schema:
            text += " One of " + ", ".join(f"`{one}`" for one in comment.schema["enum"]) + "."
        default = json.dumps(value, ensure_ascii=False).replace("|", "\\|")
        lines.append(f"| `{'.'.join(path)}` | `{default}` | {text} |")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


def generated(chart: Path) -> dict[Path, str]:
    """The files, and what they have to hold."""
    text = (chart / "values.yaml").read_text()
    values, said = yaml.safe_load(text), comments(text)
    head = (chart / "README.in.md").read_text()
    return {
        chart / "values.schema.json": json.dumps(schema(values, said), indent=2) + "\n",
        chart / "README.md": readme(values, said, head),
    }


def stale(chart: Path = CHART) -> list[Path]:
    """Files that are not what would be written."""
    return [
        path
        for path, text in generated(chart).items()
        if not path.exists() or path.read_text() != text
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="change nothing")
    options = parser.parse_args()
    old = stale()
    if not options.check:
        for path, text in generated(CHART).items():
            path.write_text(text)
        return 0
    for path in old:
        print(f"{path.relative_to(CHART.parents[1])} is old; run tools/chart_reference.py")
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(main())
