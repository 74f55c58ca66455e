"""Structural schemas: pruning of unknown fields, defaults, and validation.

A schema of a CustomResourceDefinition or of a core kind is compiled once into a tree of
`SchemaNode`s. Three functions walk an object by that tree: `prune` removes unknown fields and
returns their paths, `apply_defaults` fills in defaults, and `validate` returns the problems. This
module has no I/O: the embedded API server and the commands that check files offline share it.
Sources: "Specifying a structural schema" and "Validation" of the Kubernetes documentation of
CustomResourceDefinitions; the wording of errors follows kube-apiserver 1.36.
"""

import copy
import functools
import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from scheduler.hub.schema.json_types import Json, JsonObject
from scheduler.hub.schema.problems import (
    FieldProblem,
    has_type,
    json_type_of,
    quote_value,
    required_value,
    wrong_type,
)
from scheduler.hub.schema.value_checks import (
    ValueCheck,
    compile_value_checks,
    has_slow_pattern,
)

_OLD_SELF = re.compile(r"\boldSelf\b")
_serials = itertools.count()


@functools.lru_cache(maxsize=4096)
def is_transition_rule(rule: str) -> bool:
    """Whether a validation rule refers to the old value (`oldSelf`)."""
    return bool(_OLD_SELF.search(rule))


def _refers_to_old(rule: Json) -> bool:
    """The same for a rule of a definition that is not checked yet."""
    text = rule.get("rule") if isinstance(rule, dict) else None
    return isinstance(text, str) and is_transition_rule(text)


@dataclass(slots=True)
class SchemaNode:
    """One compiled node of a schema. An attribute is None where the schema does not set it."""

    type: str | None = None
    properties: dict[str, "SchemaNode"] = field(default_factory=dict)
    additional_properties: "SchemaNode | None" = None
    """The schema of every other key (`additionalProperties`)."""
    allows_any_value: bool = False
    """`additionalProperties: true`: other keys are kept without checks."""
    items: "SchemaNode | None" = None
    required: tuple[str, ...] = ()
    nullable: bool = False
    preserves_unknown: bool = False
    int_or_string: bool = False
    is_embedded: bool = False
    is_core: bool = False
    """Whether the node belongs to a core kind, which a real server stores in a Go struct."""
    default: Json = None
    has_default: bool = False
    is_atomic: bool = False
    """Whether a map has one field owner as a whole (`x-kubernetes-map-type: atomic`)."""
    list_type: str = "atomic"
    map_keys: tuple[str, ...] = ()
    merge_key: str | None = None
    is_merge_list: bool = False
    """Whether a strategic merge patch merges this list instead of replacing it."""
    rules: list[JsonObject] = field(default_factory=list)
    is_quantity: bool = False
    has_quantities: bool = False
    """Whether this node or one below is a quantity of a core kind."""
    has_rules: bool = False
    """Whether this node or one below has a validation rule."""
    has_transition_rules: bool = False
    """Whether one of these rules refers to the old value."""
    has_keyed_lists: bool = False
    """Whether this node or one below is a list of type set or map."""
    has_slow_patterns: bool = False
    """Whether values of this node or of one below may take long to match."""
    has_defaults: bool = False
    """Whether this node or one below has a default."""
    checks: tuple[ValueCheck, ...] = ()
    schema: JsonObject = field(default_factory=dict)
    quick_check: Callable[[Json], bool] | None = None
    """Made at its first use: whether a value is surely valid (`quick_check.py`)."""
    serial: int = field(default_factory=_serials.__next__, compare=False)
    """A number that no other node of the process has."""

    def child(self, key: str) -> "SchemaNode | None":
        """The node of a key of this map; None for a key that the schema does not know."""
        return self.properties.get(key) or self.additional_properties


class _SchemaCompiler:
    """Compiles schemas to nodes and resolves references, including cyclic ones."""

    def __init__(self, definitions: Mapping[str, JsonObject]) -> None:
        self._definitions = definitions
        self._compiled: dict[str, SchemaNode] = {}

    def compile(self, schema: JsonObject) -> SchemaNode:
        reference = _reference_of(schema)
        if reference is None:
            return self._fill(SchemaNode(), schema)
        if reference not in self._compiled:
            # Registered before it is filled, so that a cyclic reference finds it.
            self._compiled[reference] = SchemaNode()
            self._fill(self._compiled[reference], self._definitions[reference])
        return self._compiled[reference]

    def _compile_check(self, schema: JsonObject) -> ValueCheck:
        node = self.compile(schema)
        return lambda value, path: validate(node, value, path)

    def _fill(self, node: SchemaNode, schema: JsonObject) -> SchemaNode:
        node.schema = schema
        node.is_core = bool(self._definitions)
        node.type = schema.get("type")
        node.properties = {
            name: self.compile(child) for name, child in (schema.get("properties") or {}).items()
        }
        more = schema.get("additionalProperties")
        node.allows_any_value = more is True
        node.additional_properties = self.compile(more) if isinstance(more, dict) else None
        items = schema.get("items")
        node.items = self.compile(items) if isinstance(items, dict) else None
        node.required = tuple(schema.get("required") or ())
        node.nullable = bool(schema.get("nullable"))
        node.preserves_unknown = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
        node.int_or_string = bool(schema.get("x-kubernetes-int-or-string"))
        node.is_embedded = bool(schema.get("x-kubernetes-embedded-resource"))
        node.has_default = "default" in schema
        node.default = schema.get("default")
        _set_merge_rules(node, schema)
        node.rules = list(schema.get("x-kubernetes-validations") or ())
        below = [*node.properties.values(), node.additional_properties, node.items]
        known = [child for child in below if child is not None]
        node.is_quantity = node.is_core and schema.get("format") == "quantity"
        node.has_quantities = node.is_quantity or any(child.has_quantities for child in known)
        node.has_rules = bool(node.rules) or any(child.has_rules for child in known)
        node.has_transition_rules = any(map(_refers_to_old, node.rules)) or any(
            child.has_transition_rules for child in known
        )
        node.has_keyed_lists = node.list_type in {"set", "map"} or any(
            child.has_keyed_lists for child in known
        )
        node.has_slow_patterns = has_slow_pattern(schema) or any(
            child.has_slow_patterns for child in known
        )
        node.has_defaults = node.has_default or any(child.has_defaults for child in known)
        node.checks = compile_value_checks(schema, self._compile_check)
        return node


def _reference_of(schema: JsonObject) -> str | None:
    """The name of the definition that a schema refers to."""
    found = schema.get("$ref")
    if found is None and len(schema.get("allOf") or ()) == 1:
        found = schema["allOf"][0].get("$ref")
    return str(found).rsplit("/", 1)[-1] if found else None


def _set_merge_rules(node: SchemaNode, schema: JsonObject) -> None:
    strategy = str(schema.get("x-kubernetes-patch-strategy", ""))
    node.is_atomic = schema.get("x-kubernetes-map-type") == "atomic"
    node.list_type = schema.get("x-kubernetes-list-type") or "atomic"
    node.map_keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())
    node.merge_key = schema.get("x-kubernetes-patch-merge-key")
    node.is_merge_list = "merge" in strategy.split(",")


def compile_schema(
    schema: JsonObject, definitions: Mapping[str, JsonObject] | None = None
) -> SchemaNode:
    """Compiles an OpenAPI v3 schema.

    Args:
        schema: for example `spec.versions[].schema.openAPIV3Schema` of a CRD.
        definitions: the targets of `$ref`, by name; CRDs have none.
    """
    return _SchemaCompiler(definitions or {}).compile(schema)


# ---------------------------------------------------------------- pruning


def prune(node: SchemaNode, value: Json, path: str = "", *, root: bool = False) -> list[str]:
    """Removes fields that the schema does not know, in place, and returns their paths.

    At the root of an object `apiVersion`, `kind` and `metadata` are always kept.
    """
    unknown: list[str] = []
    _prune(node, value, path, unknown, root=root or node.is_embedded)
    return unknown


def _prune(node: SchemaNode, value: Json, path: str, unknown: list[str], *, root: bool) -> None:
    if isinstance(value, dict):
        _prune_map(node, value, path, unknown, root=root)
    elif isinstance(value, list) and node.items is not None:
        for index, item in enumerate(value):
            if isinstance(item, dict | list):
                _prune(node.items, item, f"{path}[{index}]", unknown, root=node.items.is_embedded)


def _prune_map(
    node: SchemaNode, value: JsonObject, path: str, unknown: list[str], *, root: bool
) -> None:
    for key in list(value):
        child = node.properties.get(key) or node.additional_properties
        if child is not None:
            item = value[key]
            if isinstance(item, dict | list):
                _prune(child, item, _join_path(path, key), unknown, root=child.is_embedded)
        elif not (
            node.preserves_unknown or node.allows_any_value or (root and key in _ROOT_FIELDS)
        ):
            unknown.append(_join_path(path, key))
            del value[key]


_ROOT_FIELDS = frozenset({"apiVersion", "kind", "metadata"})


def _join_path(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


# ---------------------------------------------------------------- defaults


def apply_defaults(node: SchemaNode, value: Json) -> None:
    """Fills in defaults, in place; a null counts as absent where null is not allowed."""
    if not node.has_defaults:
        return
    if isinstance(value, dict):
        for key, child in node.properties.items():
            if child.has_default and (
                key not in value or (value[key] is None and not child.nullable)
            ):
                value[key] = copy.deepcopy(child.default)
        for key, item in value.items():
            below = node.properties.get(key) or node.additional_properties
            if below is not None and below.has_defaults:
                apply_defaults(below, item)
    elif isinstance(value, list) and node.items is not None:
        for item in value:
            apply_defaults(node.items, item)


def drop_nulls(node: SchemaNode, value: Json) -> None:
    """Removes nulls of fields that are not nullable and have no default, as real servers do."""
    if isinstance(value, dict):
        for key in list(value):
            child = node.properties.get(key) or node.additional_properties
            if child is None:
                continue
            if value[key] is None and key in node.properties and not child.nullable:
                del value[key]
            else:
                drop_nulls(child, value[key])
    elif isinstance(value, list) and node.items is not None:
        for item in value:
            drop_nulls(node.items, item)


# ---------------------------------------------------------------- validation


def validate(
    node: SchemaNode, value: Json, path: str = "", *, old: Json = None, has_old: bool = False
) -> list[FieldProblem]:
    """All problems of a value; parts that equal `old` are not checked again (ratcheting).

    Args:
        node: the compiled schema.
        value: the value, pruned and defaulted.
        path: the path of the value in the object, for messages.
        old: the value that was stored before, if any.
        has_old: whether there is an old value.
    """
    if has_old and value == old:
        return []
    if value is None:
        if node.nullable or (node.type is None and not node.int_or_string):
            return []
        return [wrong_type(path, node.type or "integer,string", "null")]
    problems = _type_problems(node, value, path)
    if problems:
        return problems
    for check in node.checks:
        problems.extend(check(value, path))
    if isinstance(value, dict):
        problems.extend(_validate_map(node, value, path, old))
    elif isinstance(value, list):
        problems.extend(_validate_list(node, value, path, old))
    return problems


def _type_problems(node: SchemaNode, value: Json, path: str) -> list[FieldProblem]:
    if node.int_or_string:
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return []
        return [wrong_type(path, "integer,string", json_type_of(value))]
    if node.type is None or has_type(value, node.type):
        return []
    return [wrong_type(path, node.type, json_type_of(value))]


def _validate_map(node: SchemaNode, value: JsonObject, path: str, old: Json) -> list[FieldProblem]:
    required = (*node.required, "apiVersion", "kind") if node.is_embedded else node.required
    problems = [required_value(_join_path(path, name)) for name in required if name not in value]
    if node.is_embedded:
        empty = [name for name in ("apiVersion", "kind") if value.get(name) == ""]
        problems += [required_value(_join_path(path, name), "must not be empty") for name in empty]
    before = old if isinstance(old, dict) else {}
    for key, item in value.items():
        child = node.properties.get(key)
        where = _join_path(path, key)
        if child is None and node.additional_properties is not None:
            child = node.additional_properties
        if child is not None:
            problems.extend(
                validate(child, item, where, old=before.get(key), has_old=key in before)
            )
    return problems


def _validate_list(node: SchemaNode, value: list[Json], path: str, old: Json) -> list[FieldProblem]:
    problems = duplicate_problems(node, value, path)
    if node.items is None:
        return problems
    before = _items_by_key(node, old if isinstance(old, list) else [])
    for index, item in enumerate(value):
        key = list_key_of(node, item)
        has_old = key is not None and key in before
        where = f"{path}[{index}]"
        problems.extend(
            validate(node.items, item, where, old=before[key] if has_old else None, has_old=has_old)
        )
    return problems


def _items_by_key(node: SchemaNode, items: list[Json]) -> dict[Any, Json]:
    """The old items by key; empty for lists without keys, whose items cannot be matched."""
    return {key: item for item in items if (key := list_key_of(node, item)) is not None}


def list_key_of(node: SchemaNode, item: Json) -> tuple[Any, ...] | None:
    """The key of an item of a list of type map; None for other lists."""
    if node.list_type != "map" or not isinstance(item, dict):
        return None
    found = []
    for name in node.map_keys:
        value = item[name] if name in item else _key_default(node, name)
        found.append(value if isinstance(value, str) else quote_value(value) + " ")
    return tuple(found)


def _key_default(node: SchemaNode, name: str) -> Json:
    child = node.items.properties.get(name) if node.items else None
    return child.default if child else None


def duplicate_problems(node: SchemaNode, value: list[Json], path: str) -> list[FieldProblem]:
    """The items that a list of type set or map has twice."""
    if node.list_type == "set":
        keys = [quote_value(item) for item in value]
    elif node.list_type == "map":
        keys = [str(list_key_of(node, item)) for item in value]
    else:
        return []
    if len(set(keys)) == len(keys):
        return []
    seen: set[str] = set()
    problems = []
    for index, (key, item) in enumerate(zip(keys, value, strict=True)):
        if key in seen:
            shown = (
                {name: item.get(name) for name in node.map_keys}
                if isinstance(item, dict) and node.list_type == "map"
                else item
            )
            problems.append(
                FieldProblem(
                    "FieldValueDuplicate",
                    f"{path}[{index}]",
                    f"Duplicate value: {quote_value(shown)}",
                )
            )
        seen.add(key)
    return problems
