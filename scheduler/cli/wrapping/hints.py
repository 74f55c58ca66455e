"""What plain manifests say about the Workload that `kapok wrap` makes of them.

Annotations under kapok.dev/ say it in words; they are taken out, because agents recognise their
objects by such keys. A node selector for one architecture says which platform the images have.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

_PREFIX = "kapok.dev/"
_TEXTS = {"data-class": "data_class"}
_NUMBERS = {"protection-level": "protection_level"}
_LISTS = {
    "network-zones": "network_zones",
    "jurisdictions": "jurisdictions",
    "image-platforms": "image_platforms",
}
_KEYS = _TEXTS | _NUMBERS | _LISTS
_SPEC_FIELDS = {
    "data_class": "dataClass",
    "protection_level": "protectionLevel",
    "network_zones": "networkZones",
    "jurisdictions": "jurisdictions",
    "image_platforms": "imagePlatforms",
}
_ARCHITECTURE_LABELS = ("kubernetes.io/arch", "beta.kubernetes.io/arch")


class HintsDisagree(ValueError):
    """Two objects say different things, or one says what no field holds; the message names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """Fields of a Workload's spec; None and empty: nothing says it."""

    data_class: str | None = None
    protection_level: int | None = None
    network_zones: tuple[str, ...] = ()
    jurisdictions: tuple[str, ...] = ()
    image_platforms: tuple[str, ...] = ()

    def over(self, other: "Hints") -> "Hints":
        """These, and of the other what these do not say."""
        names = [each.name for each in fields(self)]
        return Hints(**{name: getattr(self, name) or getattr(other, name) for name in names})

    def as_spec(self) -> dict[str, Any]:
        """The fields of the spec that are said."""
        found = {field: getattr(self, name) for name, field in _SPEC_FIELDS.items()}
        return {
            field: list(value) if isinstance(value, tuple) else value
            for field, value in found.items()
            if value
        }


def take_hints(
    objects: Sequence[dict[str, Any]],
) -> tuple[list[dict[str, Any]], Hints]:
    """The objects without the annotations that are hints, and the hints.

    Raises:
        HintsDisagree: two objects say different things, or a text is no value.
    """
    taken, said = copy.deepcopy(list(objects)), dict[str, tuple[Any, str]]()
    for one in taken:
        title = f"{one.get('kind')} {(one.get('metadata') or {}).get('name')}"
        for notes in _annotations_in(one):
            for word, name in _KEYS.items():
                if _PREFIX + word not in notes:
                    continue
                value = _value_of(word, notes.pop(_PREFIX + word), title)
                before, by = said.setdefault(name, (value, title))
                if before != value:
                    raise HintsDisagree(
                        f"{by} says {_PREFIX}{word}: {_text(before)}, and {title} says"
                        f" {_text(value)}; write the one that holds for all of them"
                    )
    return taken, Hints(**{name: value for name, (value, _) in said.items()})


def hints_of_nodes(objects: Sequence[dict[str, Any]]) -> Hints:
    """The platforms that node selectors of pod templates ask for."""
    found = {
        str(selector[label])
        for one in objects
        for selector in _node_selectors_in(one)
        for label in _ARCHITECTURE_LABELS
        if selector.get(label)
    }
    return Hints(image_platforms=tuple(f"linux/{one}" for one in sorted(found)))


def _value_of(word: str, text: object, title: str) -> Any:  # noqa: ANN401 - of the field
    words = str(text).strip()
    if word in _NUMBERS:
        if not (words.isascii() and words.isdecimal()):
            raise HintsDisagree(f"{title}: {_PREFIX}{word}: {words[:40]!a} is no number")
        return int(words[:3])
    if word in _LISTS:
        return tuple(each.strip() for each in words.split(",") if each.strip())
    return words


def _text(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _annotations_in(value: object) -> Iterator[dict[str, Any]]:
    """The annotations of an object and of the templates in it."""
    if isinstance(value, dict):
        metadata = value.get("metadata")
        if isinstance(metadata, dict) and isinstance(metadata.get("annotations"), dict):
            yield metadata["annotations"]
        for each in value.values():
            yield from _annotations_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from _annotations_in(each)


def _node_selectors_in(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if isinstance(value.get("containers"), list) and isinstance(
            value.get("nodeSelector"), dict
        ):
            yield value["nodeSelector"]
        for each in value.values():
            yield from _node_selectors_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from _node_selectors_in(each)
