# SPDX-License-Identifier: Apache-2.0
"""Makes, of the OpenAPI description of a Kubernetes API server, a schema for each kind it serves.

tools/kubernetes_schemas.py SWAGGER.JSON FOLDER

SWAGGER.JSON is api/openapi-spec/swagger.json of Kubernetes' sources, or what a server answers to
`kubectl get --raw /openapi/v2`, which also has the kinds of installed CRDs. FOLDER then has a file
KIND-GROUP-VERSION.json for each, as kubeconform's --schema-location asks for. They are strict: a
field that the server does not know is an error.

Errors: exit code 2 for wrong usage; a file that can't be read or written ends it with a trace.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

DEFINITIONS = "#/definitions/"
NUMBER_OR_TEXT = {"anyOf": [{"type": "string"}, {"type": "number"}]}
# Whole numbers as text or number, in the ways that the description has of saying it.
QUANTITY = "resource.Quantity"
INT_OR_STRING = "intstr.IntOrString"


def strict(schema: Any) -> Any:
    """The same, without formats that are Kubernetes' own, and without room for unknown fields."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "int-or-string" or schema.get("x-kubernetes-int-or-string"):
        return NUMBER_OR_TEXT
    result = {
        key: strict(value)
        for key, value in schema.items()
        if not (key == "format" and isinstance(value, str))
    }
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields")
    if isinstance(result.get("properties"), dict) and not open_ended:
        result.setdefault("additionalProperties", False)
    return result


def referenced(schema: Any) -> set[str]:
    """Names of the definitions that this one refers to."""
    if isinstance(schema, list):
        return set().union(*map(referenced, schema))
    if not isinstance(schema, dict):
        return set()
    names = set().union(*(referenced(value) for value in schema.values()))
    if isinstance(reference := schema.get("$ref"), str):
        names.add(reference.removeprefix(DEFINITIONS))
    return names


def closure(name: str, definitions: dict[str, Any]) -> set[str]:
    """Names of the definitions that this one needs, itself included."""
    seen: set[str] = set()
    pending = {name}
    while pending:
        seen |= pending
        pending = set().union(*(referenced(definitions.get(one, {})) for one in pending)) - seen
    return seen


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    described = json.loads(Path(sys.argv[1]).read_text())["definitions"]
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    definitions = {
        name: NUMBER_OR_TEXT if name.endswith((QUANTITY, INT_OR_STRING)) else strict(schema)
        for name, schema in described.items()
        # Descriptions of schemas refer to themselves; no manifest of ours holds one.
        if "JSONSchemaProps" not in name
    }
    for name, schema in definitions.items():
        for served in schema.get("x-kubernetes-group-version-kind", []):
            group = served["group"].split(".")[0]
            file = "-".join(filter(None, (served["kind"].lower(), group, served["version"])))
            needed = {one: definitions.get(one, {}) for one in sorted(closure(name, definitions))}
            (folder / f"{file}.json").write_text(
                json.dumps(
                    {
                        "$schema": "http://json-schema.org/draft-07/schema#",
                        "$ref": DEFINITIONS + name,
                        "definitions": needed,
                    }
                )
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
