"""Strategic merge patch: a merge patch that merges lists of certain fields by a key.

Only core kinds support it; custom resources refuse it with 415, as on a real server.
Source: "Strategic Merge Patch" in the Kubernetes documentation and design notes (directives
`$patch`, `$retainKeys`, `$setElementOrder/...`, `$deleteFromPrimitiveList/...`).
"""

import copy

import msgspec

from scheduler.apiserver.base.errors import ApiError, bad_request
from scheduler.hub.schema.json_types import Json, JsonObject
from scheduler.hub.schema.structural import SchemaNode

_PATCH_DIRECTIVE = "$patch"
_RETAIN_KEYS_DIRECTIVE = "$retainKeys"
_ELEMENT_ORDER_PREFIX = "$setElementOrder/"
_DELETE_FROM_LIST_PREFIX = "$deleteFromPrimitiveList/"


def apply_strategic_merge_patch(
    node: SchemaNode | None, target: JsonObject, patch: JsonObject
) -> JsonObject:
    """Returns the target with a strategic merge patch applied; changes neither.

    Raises:
        ApiError: 400, the patch or one of its directives does not fit the object.
    """
    try:
        return _merge_map(node, target, patch)
    except (AttributeError, KeyError, TypeError) as error:
        raise bad_request(f"the strategic merge patch does not fit the object: {error}") from None


def _merge_map(node: SchemaNode | None, target: JsonObject, patch: JsonObject) -> JsonObject:
    directive = patch.get(_PATCH_DIRECTIVE)
    if directive == "replace":
        replaced: JsonObject = _strip_directives(
            {k: value for k, value in patch.items() if k != _PATCH_DIRECTIVE}
        )
        return replaced
    if directive == "delete":
        return {}
    if directive is not None and directive != "merge":
        raise bad_request(f"unknown patch type {directive!r} in strategic merge patch")
    merged = dict(target)
    _retain_keys(merged, patch)
    for key, value in patch.items():
        if key.startswith(_DELETE_FROM_LIST_PREFIX):
            name = key.removeprefix(_DELETE_FROM_LIST_PREFIX)
            merged[name] = [item for item in merged.get(name) or () if item not in value]
        elif not key.startswith("$"):
            _merge_key(node, merged, key, value)
    for key, order in patch.items():
        name = key.removeprefix(_ELEMENT_ORDER_PREFIX)
        if key.startswith(_ELEMENT_ORDER_PREFIX) and isinstance(merged.get(name), list):
            below = node.child(name) if node else None
            merged[name] = _order_elements(below, merged[name], order)
    return merged


def _retain_keys(merged: JsonObject, patch: JsonObject) -> None:
    keys = patch.get(_RETAIN_KEYS_DIRECTIVE)
    if keys is None:
        return
    if not isinstance(keys, list):
        raise bad_request(f"{_RETAIN_KEYS_DIRECTIVE} in a strategic merge patch is a list of keys")
    for key in [key for key in merged if key not in keys]:
        del merged[key]


def _merge_key(node: SchemaNode | None, merged: JsonObject, key: str, value: Json) -> None:
    below = node.child(key) if node else None
    before = merged.get(key)
    if value is None:
        merged.pop(key, None)
    elif isinstance(value, dict):
        if value.get(_PATCH_DIRECTIVE) == "delete":
            merged.pop(key, None)
        elif below is not None and below.is_atomic:
            merged[key] = _strip_directives(value)
        else:
            merged[key] = _merge_map(below, before if isinstance(before, dict) else {}, value)
    elif isinstance(value, list) and below is not None and below.is_merge_list:
        merged[key] = _merge_list(below, before if isinstance(before, list) else [], value)
    else:
        merged[key] = _strip_directives(value)


def _merge_list(node: SchemaNode, target: list[Json], patch: list[Json]) -> list[Json]:
    if node.merge_key is None:
        return target + [item for item in patch if item not in target]
    if any(isinstance(item, dict) and item.get(_PATCH_DIRECTIVE) == "replace" for item in patch):
        replaced: list[Json] = _strip_directives(
            [item for item in patch if item.get(_PATCH_DIRECTIVE) != "replace"]
        )
        return replaced
    merged = list(target)
    index = _index_of(node.merge_key, merged)
    for item in patch:
        if isinstance(item, dict) and item.get(_PATCH_DIRECTIVE) == "delete":
            _delete_item(node.merge_key, merged, item)
            index = _index_of(node.merge_key, merged)
        else:
            _merge_item(node, node.merge_key, merged, index, item)
    return merged


def _index_of(key: str, items: list[Json]) -> dict[str, int]:
    """The position of the first item with each value of the merge key."""
    found: dict[str, int] = {}
    for position, item in enumerate(items):
        if isinstance(item, dict) and key in item:
            found.setdefault(_encode_key(item[key]), position)
    return found


def _encode_key(value: Json) -> str:
    """A value of a merge key, usable in a dict and different for values of different types."""
    return value if isinstance(value, str) else f"\x00{msgspec.json.encode(value).decode()}"


def _delete_item(key: str, merged: list[Json], item: JsonObject) -> None:
    if key not in item:
        raise _no_merge_key(key, item)
    merged[:] = [old for old in merged if not (isinstance(old, dict) and old.get(key) == item[key])]


def _no_merge_key(key: str, item: Json) -> ApiError:
    shown = str(item)[:200]
    return bad_request(f"an item of a strategic merge patch has no merge key {key!r}: {shown}")


def _merge_item(
    node: SchemaNode, key: str, merged: list[Json], index: dict[str, int], item: Json
) -> None:
    if not isinstance(item, dict) or key not in item:
        raise _no_merge_key(key, item)
    position = index.get(_encode_key(item[key]))
    if position is None:
        index[_encode_key(item[key])] = len(merged)
        merged.append(_merge_map(node.items, {}, item))
    else:
        merged[position] = _merge_map(node.items, merged[position], item)


def _order_elements(node: SchemaNode | None, items: list[Json], order: Json) -> list[Json]:
    """Sorts items in the order of the client; items that it does not know keep their position."""
    if not isinstance(order, list):
        raise bad_request(f"{_ELEMENT_ORDER_PREFIX}... in a strategic merge patch is a list")
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


def _strip_directives(value: Json) -> Json:
    """A copy of a patch value without directives and nulls."""
    if isinstance(value, dict):
        return {
            key: _strip_directives(item)
            for key, item in value.items()
            if item is not None
            and not (key.startswith("$") and ("/" in key or key == _PATCH_DIRECTIVE))
        }
    if isinstance(value, list):
        return [_strip_directives(item) for item in value]
    return copy.copy(value)
