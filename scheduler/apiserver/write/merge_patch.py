"""JSON merge patch (RFC 7396)."""

from scheduler.hub.schema.json_types import Json


def apply_merge_patch(target: Json, patch: Json) -> Json:
    """Returns the target with a merge patch applied; changes neither (RFC 7396, section 2)."""
    if not isinstance(patch, dict):
        return _copy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = apply_merge_patch(merged.get(key), value)
    return merged


def _copy(value: Json) -> Json:
    """A copy of a JSON value; `copy.deepcopy` takes ten times as long."""
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value
