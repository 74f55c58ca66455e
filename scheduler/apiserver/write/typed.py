"""Checks that a configuration can be applied: every field is known, every list has unique keys.

Server-side apply needs the schema for field ownership, and therefore refuses fields that other
writes would prune. Source: the checks of structured-merge-diff's `FromUnstructured`; kube-apiserver
reports them with code 500; here they are 400, because the request is wrong.
"""

from scheduler.apiserver.base.errors import bad_request
from scheduler.apiserver.write.field_sets import format_paths, path_element_of
from scheduler.hub.schema.json_types import Json, JsonObject
from scheduler.hub.schema.structural import SchemaNode

_MAX_SHOWN_LENGTH = 200
_ROOT_FIELDS = frozenset({"apiVersion", "kind", "metadata"})


def check_typed_patch(node: SchemaNode, config: JsonObject) -> None:
    """Refuses a configuration that does not fit the schema.

    Raises:
        ApiError: 400; the message has the first problem.
    """
    problem = _value_problem(node, config, "", root=True)
    if problem:
        metadata = config.get("metadata") or {}
        where = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
        raise bad_request(
            f"failed to create typed patch object ({where}; {config.get('apiVersion')}, "
            f"Kind={config.get('kind')}): {problem}"
        )


def _value_problem(node: SchemaNode, value: Json, path: str, *, root: bool = False) -> str:
    if value is None:
        return ""
    if node.properties or node.additional_properties is not None or node.type == "object":
        return _map_problem(node, value, path, root=root or node.is_embedded)
    if node.type == "array" and node.items is not None:
        return _list_problem(node, node.items, value, path)
    if node.type in {"string", "integer", "number", "boolean"}:
        return _scalar_problem(node, value, path)
    return ""


def _map_problem(node: SchemaNode, value: Json, path: str, *, root: bool) -> str:
    if not isinstance(value, dict):
        return f"{path}: expected map, got {_format_go_value(value)}"
    free = (
        node.preserves_unknown
        or node.allows_any_value
        or (not node.properties and node.additional_properties is None)
    )
    for key, item in value.items():
        child = node.child(key)
        where = f"{path}.{key}"
        if child is not None:
            found = _value_problem(child, item, where)
            if found:
                return found
        elif not free and not (root and key in _ROOT_FIELDS):
            return f"{where}: field not declared in schema"
    return ""


def _list_problem(node: SchemaNode, items: SchemaNode, value: Json, path: str) -> str:
    if not isinstance(value, list):
        return f"{path}: expected list, got {_format_go_value(value)}"
    seen: set[str] = set()
    for index, item in enumerate(value):
        key = path_element_of(node, item)
        if key is not None and key in seen:
            return f"{path}: duplicate entries for key {format_paths({key: {}})[0]}"
        if key is not None:
            seen.add(key)
        where = f"{path}[{index}]" if key is None else path + format_paths({key: {}})[0]
        found = _value_problem(items, item, where)
        if found:
            return found
    return ""


def _scalar_problem(node: SchemaNode, value: Json, path: str) -> str:
    if isinstance(value, dict | list):
        return f"{path}: expected {node.type}, got {_format_go_value(value)}"
    fits = {
        "string": isinstance(value, str),
        "boolean": isinstance(value, bool),
        "integer": isinstance(value, int | float) and not isinstance(value, bool),
        "number": isinstance(value, int | float) and not isinstance(value, bool),
    }[str(node.type)]
    if fits:
        return ""
    kind = {"integer": "numeric (int or float)", "number": "numeric (int or float)"}
    return f"{path}: expected {kind.get(str(node.type), node.type)}, got {_format_go_value(value)}"


def _format_go_value(value: Json) -> str:
    return f"&{{{str(value)[:_MAX_SHOWN_LENGTH]}}}"
