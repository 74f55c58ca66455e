"""Reads JSON trees of the member's API, which may have null or another type in any place.

A real server sends null for an empty list (a nil slice of Go); a defective or hostile one sends
anything. What has another type than expected counts as absent, so that nothing here raises.
"""

from collections.abc import Mapping
from typing import Any, Final

from agents.protocol.bounds import is_unicode

MAX_TEXT_CHARACTERS: Final = 16_384
_MAX_COUNT: Final = 2**31

_EMPTY: Final[Mapping[str, Any]] = {}


def map_at(tree: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """The object at a path of names; empty if anything on the way is not an object."""
    part: Any = tree
    for name in names:
        part = part.get(name)
        if not isinstance(part, dict):
            return _EMPTY
    found: Mapping[str, Any] = part
    return found


def objects_at(tree: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects of the list at `name`; other items, and all that is not a list, are left out."""
    value = tree.get(name)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def text_at(tree: Mapping[str, Any], name: str) -> str:
    """The text at `name`; empty if it is absent, longer than any name, or not text in UTF-8."""
    value = tree.get(name)
    if not isinstance(value, str) or len(value) > MAX_TEXT_CHARACTERS or not is_unicode(value):
        return ""
    return value


def message_at(tree: Mapping[str, Any], name: str, max_characters: int) -> str:
    """The beginning of the text at `name`, for people; empty if it is absent."""
    value = tree.get(name)
    if not isinstance(value, str):
        return ""
    return value[:max_characters].encode(errors="replace").decode()


def integer_at(tree: Mapping[str, Any], name: str, default: int) -> int:
    """The whole number at `name`, if it is one of at most 32 bits as Kubernetes' counts are."""
    value = tree.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= _MAX_COUNT:
        return default
    return value
