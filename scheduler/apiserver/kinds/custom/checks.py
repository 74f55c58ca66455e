"""Validation of CustomResourceDefinitions, as on the real server.

A schema must be structural, the names must be consistent, exactly one version is the storage
version, and rules must compile and have a limited cost.
Source: "CustomResourceDefinition" and "Resource use by validation functions" of the Kubernetes
documentation.
"""

from collections.abc import Iterator

from scheduler.apiserver.kinds.custom.cel import definition_rule_problems
from scheduler.apiserver.kinds.jsonpath import JsonPathError, parse_json_path
from scheduler.apiserver.kinds.names import dns_label_problems, dns_subdomain_problems
from scheduler.hub.schema.json_types import Json, JsonObject
from scheduler.hub.schema.patterns import Pattern
from scheduler.hub.schema.problems import FieldProblem, invalid_value, required_value
from scheduler.hub.schema.structural import apply_defaults, compile_schema, prune, validate

_TYPES = frozenset({"array", "boolean", "integer", "number", "object", "string"})
_UNSUPPORTED_KEYWORDS = (
    "$ref",
    "definitions",
    "dependencies",
    "deprecated",
    "discriminator",
    "id",
    "patternProperties",
    "readOnly",
    "writeOnly",
    "xml",
)
_FORBIDDEN_IN_JUNCTORS = (
    "type",
    "additionalProperties",
    "default",
    "nullable",
    "description",
    "title",
)


def definition_problems(item: JsonObject, old: JsonObject | None) -> list[FieldProblem]:
    """All problems of a definition."""
    spec = item.get("spec")
    if not isinstance(spec, dict):
        return [required_value("spec")]
    problems = _name_problems(item, spec)
    versions = [one for one in spec.get("versions") or () if isinstance(one, dict)]
    storage = [one for one in versions if one.get("storage")]
    if len(storage) != 1:
        why = "must have exactly one version marked as storage version"
        problems.append(invalid_value("spec.versions", len(storage), why))
    if spec.get("preserveUnknownFields"):
        why = "must be false in order to use apiextensions.k8s.io/v1"
        problems.append(invalid_value("spec.preserveUnknownFields", True, why))  # noqa: FBT003
    for index, version in enumerate(versions):
        path = f"spec.versions[{index}]"
        shared = "spec.validation" if len(versions) == 1 else f"{path}.schema"
        problems += _version_problems(version, path, f"{shared}.openAPIV3Schema")
    if old is not None:
        for key in ("group", "scope"):
            if spec.get(key) != old["spec"].get(key):
                problems.append(invalid_value(f"spec.{key}", spec.get(key), "field is immutable"))
    return problems


def _name_problems(item: JsonObject, spec: JsonObject) -> list[FieldProblem]:
    names: Json = spec.get("names") or {}
    problems: list[FieldProblem] = []
    expected = f"{names.get('plural')}.{spec.get('group')}"
    if item["metadata"].get("name") != expected:
        why = 'must be spec.names.plural+"."+spec.group'
        problems.append(invalid_value("metadata.name", item["metadata"].get("name"), why))
    for key in ("plural", "singular"):
        value = str(names.get(key) or "")
        problems += [
            invalid_value(f"spec.names.{key}", value, why) for why in dns_label_problems(value)
        ]
    group = str(spec.get("group") or "")
    if "." not in group:
        why = "should be a domain with at least one dot"
        problems.append(invalid_value("spec.group", group, why))
    problems += [invalid_value("spec.group", group, why) for why in dns_subdomain_problems(group)]
    if spec.get("scope") not in {"Namespaced", "Cluster"}:
        problems.append(
            FieldProblem(
                "FieldValueNotSupported",
                "spec.scope",
                f'Unsupported value: "{spec.get("scope")}": '
                'supported values: "Cluster", "Namespaced"',
            )
        )
    return problems


def _version_problems(version: JsonObject, path: str, where: str) -> list[FieldProblem]:
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    if not isinstance(schema, dict):
        return [required_value(f"{path}.schema.openAPIV3Schema", "schemas are required")]
    misshapen = list(_keyword_type_problems(schema, where))
    if misshapen:
        return misshapen
    problems: list[FieldProblem] = []
    if schema.get("type") != "object":
        problems.append(
            invalid_value(f"{where}.type", schema.get("type"), "must be object at the root")
        )
    for at, node in _iter_nodes(schema, where):
        problems += _structural_problems(node, at)
    if not problems:
        problems += definition_rule_problems(schema, where)
    for index, column in enumerate(version.get("additionalPrinterColumns") or ()):
        try:
            parse_json_path(str(column.get("jsonPath", "")))
        except JsonPathError as error:
            at = f"{path}.additionalPrinterColumns[{index}].jsonPath"
            problems.append(invalid_value(at, column.get("jsonPath"), str(error)))
    return problems


_KEYWORD_TYPES: dict[str, tuple[type, ...]] = {
    "type": (str,),
    "format": (str,),
    "pattern": (str,),
    "properties": (dict,),
    "items": (dict,),
    "not": (dict,),
    "additionalProperties": (dict, bool),
    **dict.fromkeys(("required", "enum", "allOf", "anyOf", "oneOf"), (list,)),
    **dict.fromkeys(("maxItems", "minItems", "maxLength", "minLength"), (int,)),
    **dict.fromkeys(("maxProperties", "minProperties"), (int,)),
    **dict.fromkeys(("maximum", "minimum", "multipleOf"), (int, float)),
    "x-kubernetes-list-map-keys": (list,),
    "x-kubernetes-validations": (list,),
}
"""The types of schema keywords, which the schema of CustomResourceDefinition leaves open."""


def _keyword_type_problems(schema: Json, path: str) -> Iterator[FieldProblem]:
    """Yields problems of keywords with a wrong type, in the schema and all schemas below it."""
    if not isinstance(schema, dict):
        yield invalid_value(path, schema, "must be a schema")
        return
    for key, value in schema.items():
        if not _has_keyword_type(value, _KEYWORD_TYPES.get(key)):
            yield invalid_value(f"{path}.{key}", value, "is of the wrong type")
        elif key == "properties":
            for name, child in value.items():
                yield from _keyword_type_problems(child, f"{path}.properties[{name}]")
        elif key in {"items", "not"} or (
            key == "additionalProperties" and value is not True and value is not False
        ):
            yield from _keyword_type_problems(value, f"{path}.{key}")
        elif key in {"allOf", "anyOf", "oneOf"}:
            for index, child in enumerate(value):
                yield from _keyword_type_problems(child, f"{path}.{key}[{index}]")
        elif key == "pattern" and (why := Pattern(value).problem()):
            shown = f"must be a valid regular expression, but isn't: {why}"
            yield invalid_value(f"{path}.{key}", value, shown)


def _has_keyword_type(value: Json, expected: tuple[type, ...] | None) -> bool:
    if expected is None:
        return True
    return isinstance(value, expected) and (not isinstance(value, bool) or bool in expected)


def _iter_nodes(schema: JsonObject, path: str) -> Iterator[tuple[str, JsonObject]]:
    """Yields all nodes outside of junctors, with their paths."""
    yield path, schema
    for name, child in (schema.get("properties") or {}).items():
        if isinstance(child, dict):
            yield from _iter_nodes(child, f"{path}.properties[{name}]")
    for key in ("items", "additionalProperties"):
        child = schema.get(key)
        if isinstance(child, dict):
            yield from _iter_nodes(child, f"{path}.{key}")


def _structural_problems(node: JsonObject, path: str) -> list[FieldProblem]:
    problems = [
        FieldProblem("FieldValueForbidden", f"{path}.{key}", f"Forbidden: {key} is not supported")
        for key in _UNSUPPORTED_KEYWORDS
        if key in node
    ]
    kind = node.get("type")
    free = node.get("x-kubernetes-preserve-unknown-fields")
    if not kind and not free and not node.get("x-kubernetes-int-or-string"):
        problems.append(
            required_value(f"{path}.type", "must not be empty for specified object fields")
        )
    elif kind and kind not in _TYPES:
        problems.append(invalid_value(f"{path}.type", kind, f"must be one of {sorted(_TYPES)}"))
    if kind == "array" and not isinstance(node.get("items"), dict):
        problems.append(required_value(f"{path}.items", "must be specified"))
    if node.get("properties") and node.get("additionalProperties"):
        why = "Forbidden: additionalProperties and properties are mutual exclusive"
        problems.append(FieldProblem("FieldValueForbidden", f"{path}.additionalProperties", why))
    if node.get("uniqueItems"):
        why = (
            "Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes "
            "quadratic"
        )
        problems.append(FieldProblem("FieldValueForbidden", f"{path}.uniqueItems", why))
    problems += _list_problems(node, path)
    problems += _default_problems(node, path)
    for key in ("allOf", "anyOf", "oneOf"):
        for index, branch in enumerate(node.get(key) or ()):
            problems += _junctor_problems(branch, f"{path}.{key}[{index}]", node)
    return problems


def _junctor_problems(branch: Json, path: str, node: JsonObject) -> list[FieldProblem]:
    if not isinstance(branch, dict) or node.get("x-kubernetes-int-or-string"):
        return []
    return [
        FieldProblem(
            "FieldValueForbidden",
            f"{path}.{key}",
            "Forbidden: must be empty to be structural",
        )
        for key in _FORBIDDEN_IN_JUNCTORS
        if key in branch
    ]


def _list_problems(node: JsonObject, path: str) -> list[FieldProblem]:
    if node.get("x-kubernetes-list-type") != "map":
        return []
    keys = node.get("x-kubernetes-list-map-keys") or ()
    if not keys:
        return [
            required_value(
                f"{path}.x-kubernetes-list-map-keys",
                "must not be empty if x-kubernetes-list-type is map",
            )
        ]
    items = node.get("items") or {}
    problems = []
    for key in keys:
        child = (items.get("properties") or {}).get(key)
        if child is None:
            why = "entries must all be names of item properties"
            problems.append(invalid_value(f"{path}.x-kubernetes-list-map-keys", key, why))
        elif key not in (items.get("required") or ()) and "default" not in child:
            why = (
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a "
                "required property"
            )
            problems.append(required_value(f"{path}.items.properties[{key}].default", why))
    return problems


def _default_problems(node: JsonObject, path: str) -> list[FieldProblem]:
    if "default" not in node:
        return []
    compiled = compile_schema({key: value for key, value in node.items() if key != "default"})
    value = node["default"]
    apply_defaults(compiled, value)
    unknown = prune(compiled, value)
    if unknown:
        return [invalid_value(f"{path}.default", value, f"must not have unknown fields: {unknown}")]
    return [
        FieldProblem(found.reason, f"{path}.default", found.message)
        for found in validate(compiled, value, "")
    ]
