"""Sets of fields in the form of FieldsV1, and the fields in which two objects differ.

A set is the JSON of `managedFields[].fieldsV1`, with keys `f:NAME` (a field), `k:{...}` (an item of
a list with keys) and `v:...` (an item of a set). `{}` is a member without children; the key `.`
marks a node with children that is a member itself. The rules are those of
sigs.k8s.io/structured-merge-diff, the library of the real API server (KEP-555).
"""

import json
from dataclasses import dataclass, field
from typing import TypeAlias, cast

import msgspec

from scheduler.hub.schema.json_types import Json, JsonObject
from scheduler.hub.schema.structural import SchemaNode

FieldSet: TypeAlias = dict[str, "FieldSet"]

SCHEMALESS = SchemaNode(preserves_unknown=True)
_MEMBER = "."
_encode_sorted = msgspec.json.Encoder(order="sorted").encode


def is_member(node: FieldSet) -> bool:
    """Whether a node below the root is a member itself, not only through its children."""
    return not node or _MEMBER in node


def is_field_set(value: Json) -> bool:
    """Whether a value that a client sent has the form of FieldsV1."""
    return isinstance(value, dict) and all(
        _is_path_element(key) and is_field_set(below) for key, below in value.items()
    )


def _is_path_element(key: str) -> bool:
    if key == _MEMBER or key[:2] in {"f:", "i:"}:
        return True
    try:
        decoded = msgspec.json.decode(key[2:].encode())
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return False
    return key[:2] == "v:" or (key[:2] == "k:" and isinstance(decoded, dict))


def _make_member(children: FieldSet, *, in_set: bool) -> FieldSet | None:
    if in_set:
        return {_MEMBER: {}, **children} if children else {}
    return children or None


def _children_of(node: FieldSet) -> FieldSet:
    return {key: child for key, child in node.items() if key != _MEMBER}


def union(left: FieldSet, right: FieldSet) -> FieldSet:
    """The members of either set; neither set is changed."""
    merged = dict(left)
    for key, node in right.items():
        mine = merged.get(key)
        if mine is None or mine == node:
            merged[key] = node
        else:
            children = union(_children_of(mine), _children_of(node))
            member = is_member(mine) or is_member(node)
            merged[key] = _make_member(children, in_set=member) or {}
    return merged


def difference(left: FieldSet, right: FieldSet) -> FieldSet:
    """The members of `left` that are not in `right`."""
    kept: FieldSet = {}
    for key, node in left.items():
        other = right.get(key)
        if other is None:
            kept[key] = node
            continue
        children = difference(_children_of(node), _children_of(other))
        made = _make_member(children, in_set=is_member(node) and not is_member(other))
        if made is not None:
            kept[key] = made
    return kept


def intersection(left: FieldSet, right: FieldSet) -> FieldSet:
    """The members of both sets."""
    kept: FieldSet = {}
    for key, node in left.items():
        other = right.get(key)
        if other is None:
            continue
        children = intersection(_children_of(node), _children_of(other))
        made = _make_member(children, in_set=is_member(node) and is_member(other))
        if made is not None:
            kept[key] = made
    return kept


def format_paths(fields: FieldSet, prefix: str = "") -> list[str]:
    """The paths of all members, as in the API server's conflict messages: `.spec.replicas`."""
    found = []
    for key, node in sorted(fields.items()):
        if key == _MEMBER:
            continue
        path = prefix + _format_path_element(key)
        if is_member(node):
            found.append(path)
        found.extend(format_paths(node, path))
    return found


def _format_path_element(key: str) -> str:
    kind, rest = key[:2], key[2:]
    if kind == "f:":
        return f".{rest}"
    if kind == "k:":
        pairs = cast("JsonObject", json.loads(rest))
        return "[" + ",".join(f"{name}={json.dumps(pairs[name])}" for name in sorted(pairs)) + "]"
    return f"[={rest}]"


# ---------------------------------------------------------------- fields of values


def encode_compact_json(value: Json) -> str:
    """The compact JSON of a key in a field set."""
    if isinstance(value, str) or (
        isinstance(value, dict) and all(isinstance(text, str) for text in value.values())
    ):
        return _encode_sorted(value).decode()
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def path_element_of(node: SchemaNode, item: Json) -> str | None:
    """The `k:` or `v:` key of a list item; None if the list has no keys or the item lacks them."""
    if node.list_type == "set" and not isinstance(item, dict | list):
        return f"v:{encode_compact_json(item)}"
    if node.list_type == "map" and isinstance(item, dict):
        keys = {}
        for name in node.map_keys:
            value = item.get(name)
            if value is None and node.items and name in node.items.properties:
                value = node.items.properties[name].default
            if value is not None:
                keys[name] = value
        return f"k:{encode_compact_json(keys)}" if keys else None
    return None


def _is_granular_list(node: SchemaNode, value: list[Json]) -> bool:
    return node.list_type in {"set", "map"} and all(
        path_element_of(node, item) is not None for item in value
    )


_GO_STRUCT_FIELDS = frozenset(
    {"containers", "jobTemplate", "metadata", "spec", "status", "strategy", "template"}
    | {"updateStrategy"}
)
"""Fields of core kinds that are plain structs in Go: always present, and without an owner."""


def fields_of(
    node: SchemaNode | None, value: Json, *, for_apply: bool, is_struct: bool = False
) -> FieldSet:
    """The set of the fields of a value, relative to it; `{}` if the value is a single field.

    Args:
        node: the schema; None if there is none.
        value: the value.
        for_apply: whether it is for server-side apply, where only empty maps are fields themselves.
        is_struct: whether only the content of the container counts, not the container itself.
    """
    node = node or SCHEMALESS
    if isinstance(value, dict) and value and not node.is_atomic:
        children: FieldSet = {}
        for key, item in value.items():
            child = node.child(key)
            is_plain = node.is_core and key in _GO_STRUCT_FIELDS
            children[f"f:{key}"] = fields_of(child, item, for_apply=for_apply, is_struct=is_plain)
        return children if for_apply or is_struct else {_MEMBER: {}, **children}
    if isinstance(value, list) and value and _is_granular_list(node, value):
        items: FieldSet = {} if for_apply or is_struct else {_MEMBER: {}}
        for item in value:
            key = path_element_of(node, item)
            if key is None:
                continue
            below = fields_of(node.items, item, for_apply=for_apply)
            items[key] = {_MEMBER: {}, **below} if node.list_type == "map" else {}
        return items
    return {}


@dataclass(slots=True)
class FieldDifferences:
    """The differences between an old and a new value."""

    changed: FieldSet = field(default_factory=dict)
    """Added or modified fields."""
    removed: FieldSet = field(default_factory=dict)


def compare_fields(node: SchemaNode | None, old: JsonObject, new: JsonObject) -> FieldDifferences:
    """Compares two maps by their fields."""
    node = node or SCHEMALESS
    found = FieldDifferences()
    for key, value in new.items():
        child = node.child(key)
        if key not in old:
            plain = key in _GO_STRUCT_FIELDS and (node.is_core or key == "metadata")
            found.changed[f"f:{key}"] = fields_of(child, value, for_apply=False, is_struct=plain)
        elif old[key] is not value and old[key] != value:
            _compare_field(found, f"f:{key}", child, old[key], value)
    for key, value in old.items():
        if key not in new:
            found.removed[f"f:{key}"] = fields_of(node.child(key), value, for_apply=False)
    return found


def _compare_field(
    differences: FieldDifferences, step: str, node: SchemaNode | None, old: Json, new: Json
) -> None:
    below = _compare_containers(node or SCHEMALESS, old, new)
    if below is None:
        differences.changed[step] = {}
        return
    if below.changed:
        differences.changed[step] = below.changed
    if below.removed:
        differences.removed[step] = below.removed


def _compare_containers(node: SchemaNode, old: Json, new: Json) -> FieldDifferences | None:
    """Compares the content of two containers; None if the value is a single field."""
    if isinstance(old, dict) and isinstance(new, dict):
        return None if node.is_atomic or not (old and new) else compare_fields(node, old, new)
    if not (isinstance(old, list) and isinstance(new, list) and old and new):
        return None
    if _is_granular_list(node, old) and _is_granular_list(node, new):
        return _compare_items(node, old, new)
    return None


def _compare_items(node: SchemaNode, old: list[Json], new: list[Json]) -> FieldDifferences:
    found = FieldDifferences()
    before = {path_element_of(node, item) or "": item for item in old}
    after = {path_element_of(node, item) or "": item for item in new}
    for key, item in after.items():
        if key not in before:
            below = fields_of(node.items, item, for_apply=False)
            found.changed[key] = {_MEMBER: {}, **below} if node.list_type == "map" else {}
        elif before[key] != item:
            _compare_field(found, key, node.items, before[key], item)
    for key, item in before.items():
        if key not in after:
            below = fields_of(node.items, item, for_apply=False)
            found.removed[key] = {_MEMBER: {}, **below} if node.list_type == "map" else {}
    return found
