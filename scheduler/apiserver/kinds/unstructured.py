"""Access to parts of objects whose shape is not checked yet.

An absent part, or one of an unexpected type, counts as empty. Unstructured is Kubernetes' word for
objects that are decoded to maps and lists (k8s.io/apimachinery/pkg/apis/meta/v1/unstructured).
"""

from scheduler.hub.schema.json_types import Json, JsonObject


def value_at(item: Json, *path: str, default: Json = None) -> Json:
    """The value at a path of keys.

    Args:
        item: the object; any JSON value.
        path: the keys from the outermost map inwards.
        default: returned where the value is absent or null, or where a key leads through no map.
    """
    found = item
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return default if found is None else found


def set_missing(target: Json, **defaults: Json) -> None:
    """Sets keys that are absent or null; does nothing where the target is no map."""
    if isinstance(target, dict):
        for key, value in defaults.items():
            if target.get(key) is None:
                target[key] = value


def maps_in(value: Json) -> list[JsonObject]:
    """The maps in a list; empty if the value is not a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def map_at(item: JsonObject, key: str) -> JsonObject:
    """The map at a key; an empty map where there is none."""
    found = item.get(key)
    return found if isinstance(found, dict) else {}
