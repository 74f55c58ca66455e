"""Which fields of an object this agent owns, by the server's managed fields. Pure.

The server takes a field from us once another writer gives it another value, or removes it. So what
we own says whether what we applied still stands; what others set beside it, and the generation
that this raises, is theirs.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from agents.member.api import FIELD_MANAGER
from agents.member.trees import map_at, objects_at, text_at

_DIGEST_CHARACTERS: Final = 32


def revision_of(tree: Mapping[str, Any]) -> str:
    """Changes when another writer changes what we applied, and with nothing else.

    Without managed fields, which any writer may clear, it is the generation, or the resourceVersion
    for kinds without one.
    """
    owned = _owned_sets(tree)
    if owned:
        text = json.dumps(owned, sort_keys=True, separators=(",", ":"))
        return f"f{hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_CHARACTERS]}"
    metadata = map_at(tree, "metadata")
    generation = metadata.get("generation")
    return f"g{generation}" if generation else f"v{metadata.get('resourceVersion')}"


def owns_field(tree: Mapping[str, Any], *names: str) -> bool:
    """Whether we own the field at a path of names."""
    path = [f"f:{name}" for name in names]
    return any(path[-1] in map_at(each, *path[:-1]) for each in _owned_sets(tree))


def is_applied_by_us(tree: Mapping[str, Any]) -> bool:
    """Whether the server notes that this agent applied the object.

    An owner in a manifest makes an object look like one that a controller created. Controllers copy
    our label into theirs, and never our field manager.
    """
    managers = objects_at(map_at(tree, "metadata"), "managedFields")
    return any(
        each.get("manager") == FIELD_MANAGER and each.get("operation") == "Apply"
        for each in managers
    )


def _owned_sets(tree: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What we own, by the versions of the kind in which we applied it."""
    entries = objects_at(map_at(tree, "metadata"), "managedFields")
    ours = [
        each
        for each in entries
        if each.get("manager") == FIELD_MANAGER
        and each.get("operation") == "Apply"
        and not each.get("subresource")
    ]
    ours.sort(key=lambda each: text_at(each, "apiVersion"))
    return [map_at(each, "fieldsV1") for each in ours]
