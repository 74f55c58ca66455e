"""Strategic merge patch: a merge patch that knows which lists merge, and by which key.

Only core kinds take it; custom resources answer 415, as on a real server. Source: "Strategic Merge
Patch" in the Kubernetes documentation and design notes (directives `$patch`, `$retainKeys`,
`$setElementOrder/...`, `$deleteFromPrimitiveList/...`).
"""

import copy

from scheduler.apiserver.base.errors import bad_request
from scheduler.hub.schema.json_types import Json, JsonObject
from scheduler.hub.schema.structural import Node

_PATCH = "$patch"
_RETAIN = "$retainKeys"
_ORDER = "$setElementOrder/"
_DELETE = "$deleteFromPrimitiveList/"


def strategic_merge(node: Node | None, target: JsonObject, patch: JsonObject) -> JsonObject:
    """The target with a strategic merge patch applied; neither is changed.

    Raises:
        ApiError: 400, a directive that does not fit.
    """
    try:
        return _merged(node, target, patch)
    except (AttributeError, KeyError, TypeError) as error:
        raise bad_request(f"the strategic merge patch does not fit the object: {error}") from None


def _merged(node: Node | None, target: JsonObject, patch: JsonObject) -> JsonObject:
    directive = patch.get(_PATCH)
    if directive == "replace":
        replaced: JsonObject = _plain({k: value for k, value in patch.items() if k != _PATCH})
        return replaced
    if directive == "delete":
        return {}
    if directive is not None and directive != "merge":
        raise bad_request(f"unknown patch type {directive!r} in strategic merge patch")
    merged = dict(target)
    _retain_keys(merged, patch)
    for key, value in patch.items():
        if key.startswith(_DELETE):
            name = key.removeprefix(_DELETE)
            merged[name] = [item for item in merged.get(name) or () if item not in value]
        elif not key.startswith("$"):
            _merge_key(node, merged, key, value)
    for key, order in patch.items():
        name = key.removeprefix(_ORDER)
        if key.startswith(_ORDER) and isinstance(merged.get(name), list):
            below = node.child(name) if node else None
            merged[name] = _ordered(below, merged[name], order)
    return merged


def _retain_keys(merged: JsonObject, patch: JsonObject) -> None:
    keys = patch.get(_RETAIN)
    if keys is None:
        return
    if not isinstance(keys, list):
        raise bad_request(f"{_RETAIN} in a strategic merge patch is a list of keys")
    for key in [key for key in merged if key not in keys]:
        del merged[key]


def _merge_key(node: Node | None, merged: JsonObject, key: str, value: Json) -> None:
    below = node.child(key) if node else None
    before = merged.get(key)
    if value is None:
        merged.pop(key, None)
    elif isinstance(value, dict):
        if value.get(_PATCH) == "delete":
            merged.pop(key, None)
        elif below is not None and below.atomic:
            merged[key] = _plain(value)
        else:
            merged[key] = _merged(below, before if isinstance(before, dict) else {}, value)
    elif isinstance(value, list) and below is not None and below.merges:
        merged[key] = _merge_list(below, before if isinstance(before, list) else [], value)
    else:
        merged[key] = _plain(value)


def _merge_list(node: Node, target: list[Json], patch: list[Json]) -> list[Json]:
    if node.merge_key is None:
        return target + [item for item in patch if item not in target]
    if any(isinstance(item, dict) and item.get(_PATCH) == "replace" for item in patch):
        replaced: list[Json] = _plain([item for item in patch if item.get(_PATCH) != "replace"])
        return replaced
    merged = list(target)
    for item in patch:
        _merge_item(node, node.merge_key, merged, item)
    return merged


def _merge_item(node: Node, key: str, merged: list[Json], item: Json) -> None:
    if not isinstance(item, dict) or key not in item:
        raise bad_request(f"an item of a strategic merge patch has no merge key {key!r}: {item!r}")
    found = [
        index
        for index, old in enumerate(merged)
        if isinstance(old, dict) and old.get(key) == item[key]
    ]
    if item.get(_PATCH) == "delete":
        for index in reversed(found):
            del merged[index]
    elif found:
        merged[found[0]] = _merged(node.items, merged[found[0]], item)
    else:
        merged.append(_merged(node.items, {}, item))


def _ordered(node: Node | None, items: list[Json], order: Json) -> list[Json]:
    """The items in the order that the client has; what it does not know keeps its place."""
    if not isinstance(order, list):
        raise bad_request(f"{_ORDER}... in a strategic merge patch is a list")
    key = node.merge_key if node else None
    wanted = [entry.get(key) if key and isinstance(entry, dict) else entry for entry in order]
    known = {str(value): position for position, value in enumerate(wanted)}

    def name(item: Json) -> str:
        return str(item.get(key) if key and isinstance(item, dict) else item)

    listed = sorted(
        (item for item in items if name(item) in known), key=lambda item: known[name(item)]
    )
    slots = iter(listed)
    return [next(slots) if name(item) in known else item for item in items]


def _plain(value: Json) -> Json:
    """A copy without directives and nulls."""
    if isinstance(value, dict):
        return {
            key: _plain(item)
            for key, item in value.items()
            if item is not None and not (key.startswith("$") and ("/" in key or key == _PATCH))
        }
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return copy.copy(value)
