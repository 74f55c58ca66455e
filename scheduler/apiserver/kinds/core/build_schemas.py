"""Generates core_schemas.json, the schemas of the core kinds that the embedded API server serves.

Types, patch strategies and list types of the core kinds come from the package `kubernetes-validate`
(a test dependency, which at 108 MB is too large for the hub); only definitions that our kinds reach
are kept. Run this again after an upgrade of that package:

    python -m scheduler.apiserver.kinds.core.build_schemas
"""

import json
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

KUBERNETES_VERSION = "v1.37.0"
API_PREFIX = "io.k8s.api."
META_PREFIX = "io.k8s.apimachinery.pkg.apis.meta.v1."
EXTENSIONS_PREFIX = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."
REFERENCE_PREFIX = "#/components/schemas/"
ROOT_DEFINITIONS = (
    *(
        f"{API_PREFIX}core.v1.{kind}"
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
            "Endpoints",
            "LimitRange",
            "PersistentVolume",
            "ResourceQuota",
        ]
    ),
    *(
        f"{API_PREFIX}apps.v1.{kind}"
        for kind in ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ControllerRevision"]
    ),
    f"{API_PREFIX}batch.v1.Job",
    f"{API_PREFIX}batch.v1.CronJob",
    f"{API_PREFIX}events.v1.Event",
    f"{API_PREFIX}coordination.v1.Lease",
    f"{API_PREFIX}autoscaling.v1.Scale",
    f"{API_PREFIX}autoscaling.v1.HorizontalPodAutoscaler",
    f"{API_PREFIX}autoscaling.v2.HorizontalPodAutoscaler",
    f"{API_PREFIX}policy.v1.PodDisruptionBudget",
    *(f"{API_PREFIX}networking.v1.{kind}" for kind in ["Ingress", "IngressClass", "NetworkPolicy"]),
    *(
        f"{API_PREFIX}rbac.v1.{kind}"
        for kind in ["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"]
    ),
    f"{API_PREFIX}scheduling.v1.PriorityClass",
    f"{API_PREFIX}storage.v1.StorageClass",
    f"{API_PREFIX}storage.v1.CSIDriver",
    f"{API_PREFIX}node.v1.RuntimeClass",
    f"{API_PREFIX}discovery.v1.EndpointSlice",
    *(
        f"{API_PREFIX}admissionregistration.v1.{kind}"
        for kind in ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"]
    ),
    f"{API_PREFIX}policy.v1.Eviction",
    f"{API_PREFIX}authorization.v1.SelfSubjectAccessReview",
    f"{API_PREFIX}authorization.v1.SelfSubjectRulesReview",
    f"{API_PREFIX}authentication.v1.SelfSubjectReview",
    f"{EXTENSIONS_PREFIX}CustomResourceDefinition",
    f"{META_PREFIX}DeleteOptions",
    f"{META_PREFIX}Status",
)
INT_OR_STRING_FORMATS = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "int-or-string",
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "quantity",
}
LIST_KEY_DEFAULTS = {
    f"{API_PREFIX}core.v1.{kind}": {"protocol": "TCP"} for kind in ("ContainerPort", "ServicePort")
}
"""Defaults of keys of lists, which identify items; the package lacks them."""
FREE_FORM_DEFINITIONS = (
    "JSON",
    "JSONSchemaPropsOrArray",
    "JSONSchemaPropsOrBool",
    "JSONSchemaPropsOrStringArray",
)


def _convert_node(node: Any) -> Any:  # noqa: ANN401 - a JSON schema is any JSON
    """Converts a node to OpenAPI v3: a single type, references into `components`."""
    if isinstance(node, list):
        return [_convert_node(item) for item in node]
    if not isinstance(node, dict):
        return node
    converted = {key: _convert_node(value) for key, value in node.items()}
    kind = converted.get("type")
    if isinstance(kind, list):
        converted["type"] = next(name for name in kind if name != "null")
    reference = converted.get("$ref")
    if isinstance(reference, str):
        converted.pop("$ref")
        target = {"$ref": REFERENCE_PREFIX + reference.rsplit("/", 1)[-1]}
        return converted | {"allOf": [target]} if converted else target
    if "enum" in converted and set(converted) <= {"description", "type", "enum"}:
        names = converted["enum"]
        if (
            isinstance(names, list)
            and "Enum" not in converted.get("description", "")
            and len(names) == 1
        ):
            converted.pop("enum")  # of apiVersion and kind, which the route checks
    return converted


def _convert_definition(name: str, node: dict[str, Any]) -> dict[str, Any]:
    if name in INT_OR_STRING_FORMATS:
        return {
            "description": node.get("description", "A whole number or a string."),
            "x-kubernetes-int-or-string": True,
            "format": INT_OR_STRING_FORMATS[name],
        }
    if name == f"{META_PREFIX}MicroTime":
        return {**_convert_plain_definition(name, node), "format": "micro-time"}
    if name.removeprefix(EXTENSIONS_PREFIX) in FREE_FORM_DEFINITIONS:
        return {
            "description": node.get("description", ""),
            "x-kubernetes-preserve-unknown-fields": True,
        }
    return _convert_plain_definition(name, node)


def _convert_plain_definition(name: str, node: dict[str, Any]) -> dict[str, Any]:
    converted: dict[str, Any] = _convert_node(node)
    for field, default in LIST_KEY_DEFAULTS.get(name, {}).items():
        converted["properties"][field]["default"] = default
    if converted.get("type") == "object" and not {"properties", "additionalProperties"} & set(
        converted
    ):
        converted["x-kubernetes-preserve-unknown-fields"] = True  # FieldsV1, RawExtension
    return converted


def _referenced_names(node: object) -> set[str]:
    if isinstance(node, list):
        return set().union(*map(_referenced_names, node))
    if not isinstance(node, dict):
        return set()
    reference = node.get("$ref")
    if isinstance(reference, str):
        return {reference.removeprefix(REFERENCE_PREFIX)}
    return set().union(*map(_referenced_names, node.values()))


def closure_of(definitions: dict[str, Any]) -> dict[str, Any]:
    """The definitions that our kinds reach, converted to OpenAPI v3."""
    found: dict[str, Any] = {}
    wanted = list(ROOT_DEFINITIONS)
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = _convert_definition(name, definitions[name])
            wanted.extend(_referenced_names(found[name]))
    return found


def main() -> int:
    """Reads the package's definitions and writes core_schemas.json beside this module."""
    source = files("kubernetes_validate") / "kubernetes-json-schema" / f"{KUBERNETES_VERSION}-local"
    definitions = json.loads((source / "_definitions.json").read_text())["$defs"]
    schemas = closure_of(definitions)
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
