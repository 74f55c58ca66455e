"""Writes core_schemas.json: the schemas of the core kinds that the embedded API server serves.

The types, patch strategies and list kinds of Kubernetes' own objects are published as data; we
take them from the package `kubernetes-validate` (a test dependency, 108 MB, hence not of the hub)
and keep the closure of our kinds. Run again after an upgrade of that package:

    python -m scheduler.apiserver.kinds.core.build_schemas
"""

import json
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

VERSION = "v1.37.0"
API = "io.k8s.api."
META = "io.k8s.apimachinery.pkg.apis.meta.v1."
EXTENSIONS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."
REF = "#/components/schemas/"
ROOTS = (
    *(
        f"{API}core.v1.{kind}"
        for kind in [
            "Namespace",
            "Node",
            "Pod",
            "Service",
            "ConfigMap",
            "Secret",
            "ServiceAccount",
            "PersistentVolumeClaim",
            "Event",
            "Binding",
        ]
    ),
    *(f"{API}apps.v1.{kind}" for kind in ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"]),
    f"{API}batch.v1.Job",
    f"{API}batch.v1.CronJob",
    f"{API}events.v1.Event",
    f"{API}coordination.v1.Lease",
    f"{API}autoscaling.v1.Scale",
    f"{API}policy.v1.Eviction",
    f"{API}authorization.v1.SelfSubjectAccessReview",
    f"{API}authorization.v1.SelfSubjectRulesReview",
    f"{API}authentication.v1.SelfSubjectReview",
    f"{EXTENSIONS}CustomResourceDefinition",
    f"{META}DeleteOptions",
    f"{META}Status",
)
INT_OR_STRING = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "int-or-string",
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "quantity",
}
DEFAULTS = {
    f"{API}core.v1.{kind}": {"protocol": "TCP"} for kind in ("ContainerPort", "ServicePort")
}
"""Defaults of keys of lists, without which items cannot be told apart; the package lacks them."""
FREE_FORM = (
    "JSON",
    "JSONSchemaPropsOrArray",
    "JSONSchemaPropsOrBool",
    "JSONSchemaPropsOrStringArray",
)


def _converted(node: Any) -> Any:  # noqa: ANN401 - a JSON schema is any JSON
    """One node in the form of OpenAPI v3: one type, references among `components`."""
    if isinstance(node, list):
        return [_converted(item) for item in node]
    if not isinstance(node, dict):
        return node
    converted = {key: _converted(value) for key, value in node.items()}
    kind = converted.get("type")
    if isinstance(kind, list):
        converted["type"] = next(name for name in kind if name != "null")
    reference = converted.get("$ref")
    if isinstance(reference, str):
        converted.pop("$ref")
        target = {"$ref": REF + reference.rsplit("/", 1)[-1]}
        return converted | {"allOf": [target]} if converted else target
    if "enum" in converted and set(converted) <= {"description", "type", "enum"}:
        names = converted["enum"]
        if (
            isinstance(names, list)
            and "Enum" not in converted.get("description", "")
            and len(names) == 1
        ):
            converted.pop("enum")  # apiVersion and kind: the route decides, not the schema
    return converted


def _definition(name: str, node: dict[str, Any]) -> dict[str, Any]:
    if name in INT_OR_STRING:
        return {
            "description": node.get("description", "A whole number or a string."),
            "x-kubernetes-int-or-string": True,
            "format": INT_OR_STRING[name],
        }
    if name == f"{META}MicroTime":
        return {**_plain_definition(name, node), "format": "micro-time"}
    if name.removeprefix(EXTENSIONS) in FREE_FORM:
        return {
            "description": node.get("description", ""),
            "x-kubernetes-preserve-unknown-fields": True,
        }
    return _plain_definition(name, node)


def _plain_definition(name: str, node: dict[str, Any]) -> dict[str, Any]:
    converted: dict[str, Any] = _converted(node)
    for field, default in DEFAULTS.get(name, {}).items():
        converted["properties"][field]["default"] = default
    if converted.get("type") == "object" and not {"properties", "additionalProperties"} & set(
        converted
    ):
        converted["x-kubernetes-preserve-unknown-fields"] = True  # FieldsV1, RawExtension
    return converted


def _references(node: object) -> set[str]:
    if isinstance(node, list):
        return set().union(*map(_references, node))
    if not isinstance(node, dict):
        return set()
    reference = node.get("$ref")
    if isinstance(reference, str):
        return {reference.removeprefix(REF)}
    return set().union(*map(_references, node.values()))


def closure(definitions: dict[str, Any]) -> dict[str, Any]:
    """The definitions that our kinds reach, in the form of OpenAPI v3."""
    found: dict[str, Any] = {}
    wanted = list(ROOTS)
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = _definition(name, definitions[name])
            wanted.extend(_references(found[name]))
    return found


def main() -> int:
    """Reads the package's definitions and writes the data file beside this module."""
    source = files("kubernetes_validate") / "kubernetes-json-schema" / f"{VERSION}-local"
    definitions = json.loads((source / "_definitions.json").read_text())["$defs"]
    schemas = closure(definitions)
    lines = [
        f"{json.dumps(name)}: {json.dumps(schemas[name], separators=(',', ':'), sort_keys=True)}"
        for name in sorted(schemas)
    ]
    target = Path(__file__).with_name("core_schemas.json")
    target.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    sys.stderr.write(f"{target}: {len(lines)} definitions\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
