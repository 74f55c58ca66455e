"""Reading objects whose shape is not yet checked: what is not there is empty."""

from scheduler.hub.schema.json_types import Json, JsonObject


def set_missing(target: Json, **defaults: Json) -> None:
    """Sets keys that are missing or null; does nothing where the target is no map."""
    if isinstance(target, dict):
        for key, value in defaults.items():
            if target.get(key) is None:
                target[key] = value


def maps_in(value: Json) -> list[JsonObject]:
    """The maps in a list; none where it is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def map_at(item: JsonObject, key: str) -> JsonObject:
    """The map at a key; an empty one where there is none."""
    found = item.get(key)
    return found if isinstance(found, dict) else {}
