"""Paths of fields as the server writes them in conflicts of server-side apply. Pure.

Such as `.spec.replicas`, `.data.a.b` or `.spec.containers[name="app",port=80].image`; names are not
quoted, so that only the object itself shows where one with dots in it ends.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

_MAX_DEPTH: Final = 64


def without_field(tree: Mapping[str, Any], path: str) -> dict[str, Any] | None:
    """A copy of an object without one field, and without the maps that this leaves empty.

    Args:
        tree: the object; only the maps and lists on the way are copied.
        path: the field, as the server writes it.

    Returns:
        The copy; None if the object has no such field, or the path cannot be read.
    """
    narrowed = _without(tree, path, 0) if path else None
    return narrowed if isinstance(narrowed, dict) else None


def _without(part: Any, path: str, depth: int) -> Any:  # noqa: ANN401 - JSON
    """The part without the field; None if it has no such field."""
    if depth > _MAX_DEPTH:
        return None
    if isinstance(part, Mapping):
        return _without_in_map(part, path, depth)
    return _without_in_list(part, path, depth) if isinstance(part, list) else None


def _without_in_map(part: Mapping[str, Any], path: str, depth: int) -> dict[str, Any] | None:
    for name in sorted(part, key=len, reverse=True):
        word = f".{name}"
        rest = path[len(word) :]
        if not path.startswith(word) or (rest and rest[0] not in ".["):
            continue
        if not rest:
            return {key: value for key, value in part.items() if key != name}
        narrowed = _without(part[name], rest, depth + 1)
        if narrowed is None:
            continue
        return {
            key: narrowed if key == name else value
            for key, value in part.items()
            if key != name or narrowed
        }
    return None


def _without_in_list(part: list[Any], path: str, depth: int) -> list[Any] | None:
    for index, item in enumerate(part):
        for word in _item_words(item, index, path):
            rest = path[len(word) :]
            narrowed = _without(item, rest, depth + 1) if rest else None
            if rest and narrowed is None:
                continue
            return [*part[:index], *([narrowed] if rest else []), *part[index + 1 :]]
    return None


def _item_words(item: Any, index: int, path: str) -> list[str]:  # noqa: ANN401 - JSON
    """How a path may begin that names this item: by its position, its value or its keys."""
    words = [f"[{index}]"] if path.startswith(f"[{index}]") else []
    if isinstance(item, dict):
        return words + ([word] if (word := _key_word(item, path)) else [])
    valued = f"[={json.dumps(item, ensure_ascii=False)}]"
    return words + ([valued] if path.startswith(valued) else [])


def _key_word(item: Mapping[str, Any], path: str) -> str:
    """The keys that the path begins with, if the item has them; a key left out has a default."""
    if not path.startswith("["):
        return ""
    decoder, at, matched = json.JSONDecoder(), 1, 0
    while True:
        name, equals, _ = path[at:].partition("=")
        if not equals or not name:
            return ""
        try:
            value, end = decoder.raw_decode(path, at + len(name) + 1)
        except ValueError:
            return ""
        if name in item and item[name] != value:
            return ""
        matched += name in item
        if path[end : end + 1] == "]":
            return path[: end + 1] if matched else ""
        if path[end : end + 1] != ",":
            return ""
        at = end + 1
