"""Checks a manifest against the OpenAPI schema of its kind, as far as the schema decides. Pure.

A field that the schema does not know, a value of another type, a core kind's missing field and an
empty image are refused by each API server that serves the kind, so placing the manifest first has
no use. What webhooks may fill in, such as a missing field of a custom resource, is not
judged here, and neither are patterns. Source: "OpenAPI V3" of the Kubernetes documentation.
"""

from scheduler.hub.schema.json_types import Json, JsonObject
from scheduler.hub.schema.structural import (
    SchemaNode,
    compile_schema,
    drop_nulls,
    prune,
    validate,
)

_CORE_PREFIX = "io.k8s.api."
_DROPPED = ("description", "example", "externalDocs", "pattern", "x-kubernetes-validations")
"""Patterns are written for Go: some do not compile here, and on some of those that do, a text of a
tenant takes hours, as they need no time there that grows faster than the text."""
_MAPS_OF_SCHEMAS = ("properties", "patternProperties")
_CONTAINER_FIELDS = {"image", "imagePullPolicy", "terminationMessagePath"}
_MAX_VALUE_CHARACTERS = 300


def compile_kinds(document: JsonObject) -> dict[str, SchemaNode]:
    """Compiles the schemas of all kinds in the OpenAPI document of one group version.

    Args:
        document: the decoded document, such as that of `apis/apps/v1`.
    """
    components = document.get("components")
    schemas = components.get("schemas") if isinstance(components, dict) else None
    if not isinstance(schemas, dict):
        return {}
    definitions = {
        name: _narrow(schema, is_core=name.startswith(_CORE_PREFIX))
        for name, schema in schemas.items()
    }
    found: dict[str, SchemaNode] = {}
    for name, schema in schemas.items():
        kinds = list(schema.get("x-kubernetes-group-version-kind") or ())
        if len(kinds) == 1:  # DeleteOptions and its like belong to every group
            reference = {"$ref": f"#/components/schemas/{name}"}
            node = compile_schema(reference, definitions)
            node.is_core = name.startswith(_CORE_PREFIX)
            found[str(kinds[0].get("kind"))] = node
    return found


def _narrow(schema: Json, *, is_core: bool) -> Json:
    """A schema without what is not judged; what it leaves open is kept as it is."""
    if isinstance(schema, list):
        return [_narrow(each, is_core=is_core) for each in schema]
    if not isinstance(schema, dict):
        return schema
    narrowed: JsonObject = {}
    for key, value in schema.items():
        if key in _DROPPED or (key == "required" and not is_core):
            continue
        if key in _MAPS_OF_SCHEMAS and isinstance(value, dict):
            narrowed[key] = {name: _narrow(each, is_core=is_core) for name, each in value.items()}
        elif key in ("default", "enum", "x-kubernetes-group-version-kind"):
            narrowed[key] = value
        else:
            narrowed[key] = _narrow(value, is_core=is_core)
    is_map = narrowed.get("type", "object") == "object"
    says_nothing = not {"properties", "additionalProperties", "$ref", "allOf"} & set(narrowed)
    if is_map and says_nothing:
        narrowed["x-kubernetes-preserve-unknown-fields"] = True
    return narrowed


def find_problem(node: SchemaNode, manifest: JsonObject) -> str:
    """The first problem of a manifest, with the path of the field; empty if there is none.

    Args:
        node: the compiled schema of its kind.
        manifest: the manifest; it is left as it is.
    """
    try:
        item: JsonObject = {k: _copy_of(v) for k, v in manifest.items() if k != "status"}
        return _first_problem(node, item)[:_MAX_VALUE_CHARACTERS]
    except RecursionError:
        return "it is nested too deeply"


def _copy_of(value: Json) -> Json:
    """A copy of a JSON tree; `copy.deepcopy` looks for cycles too, and takes five times as long."""
    if isinstance(value, dict):
        return {key: _copy_of(each) for key, each in value.items()}
    return [_copy_of(each) for each in value] if isinstance(value, list) else value


def _first_problem(node: SchemaNode, item: JsonObject) -> str:
    drop_nulls(node, item)
    unknown = prune(node, item, root=True)
    if unknown:
        return f'unknown field "{unknown[0]}"'
    problems = validate(node, item)
    if problems:
        return problems[0].full_message
    return _empty_image(node, item, "") if node.is_core else ""


def _empty_image(node: SchemaNode, value: Json, path: str) -> str:
    """The path of the first container without an image, with the words of the API server."""
    if isinstance(value, dict):
        if node.properties.keys() >= _CONTAINER_FIELDS and not value.get("image"):
            return f"{path}.image: Required value"
        for key, item in value.items():
            child = node.child(key)
            where = f"{path}.{key}" if path else key
            if child is not None and (found := _empty_image(child, item, where)):
                return found
    elif isinstance(value, list) and node.items is not None:
        for index, item in enumerate(value):
            if found := _empty_image(node.items, item, f"{path}[{index}]"):
                return found
    return ""
