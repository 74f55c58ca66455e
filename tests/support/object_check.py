"""Checks objects against their CustomResourceDefinition by the rules of a server, without one.

A field that a server would prune is a problem here, so that a typo does not weaken a rule.
"""

import copy
from functools import lru_cache

import msgspec

from scheduler.hub.schema.cel import rule_problems
from scheduler.hub.schema.json_types import JsonObject
from scheduler.hub.schema.problems import FieldProblem, required_value
from scheduler.hub.schema.structural import (
    SchemaNode,
    apply_defaults,
    compile_schema,
    drop_nulls,
    prune,
    validate,
)


def object_problems(definition: JsonObject, item: JsonObject) -> list[FieldProblem]:
    """All problems of an object; it is not changed.

    Args:
        definition: the CustomResourceDefinition of the object's group and kind.
        item: the object.
    """
    node = _node_of(definition, str(item.get("apiVersion", "")))
    if node is None:
        group = definition["spec"]["group"]
        served = [f"{group}/{one['name']}" for one in definition["spec"]["versions"]]
        why = f"Unsupported value: {item.get('apiVersion')!r}: write {' or '.join(served)}"
        return [FieldProblem("FieldValueNotSupported", "apiVersion", why)]
    checked = copy.deepcopy(item)
    unknown = prune(node, checked, root=True)
    problems = [
        FieldProblem("FieldValueForbidden", path, "Forbidden: unknown field") for path in unknown
    ]
    if not (checked.get("metadata") or {}).get("name"):
        problems.append(required_value("metadata.name"))
    drop_nulls(node, checked)
    apply_defaults(node, checked)
    found = validate(node, checked)
    return problems + (found or rule_problems(node, checked))


def _node_of(definition: JsonObject, api_version: str) -> SchemaNode | None:
    group, _slash, version = api_version.rpartition("/")
    if group != definition["spec"]["group"]:
        return None
    for one in definition["spec"]["versions"]:
        if one["name"] == version:
            return _compiled(msgspec.json.encode(one["schema"]["openAPIV3Schema"]))
    return None


@lru_cache(maxsize=64)
def _compiled(schema: bytes) -> SchemaNode:
    return compile_schema(msgspec.json.decode(schema))
