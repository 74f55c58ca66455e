"""Label and field selectors: the query parameters that restrict lists and watches.

Grammar: "Labels and Selectors" and "Field Selectors" of the Kubernetes documentation.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from scheduler.apiserver.base.errors import ApiError, bad_request
from scheduler.apiserver.kinds.names import label_key_problems, label_value_problems
from scheduler.apiserver.kinds.unstructured import value_at
from scheduler.hub.schema.json_types import JsonObject


class _Metadata(msgspec.Struct, gc=False):
    labels: dict[str, str] | None = None


class _Labelled(msgspec.Struct, gc=False):
    """The part of an object that label selectors read; the rest is skipped, not decoded."""

    metadata: _Metadata


_decode_labels = msgspec.json.Decoder(_Labelled).decode
_SET_REQUIREMENT = re.compile(r"^(?P<key>\S+)\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)$")
_EQUALITY_REQUIREMENT = re.compile(
    r"^(?P<key>[^\s=!<>,()]+)\s*(?P<op>==|=|!=|>|<)\s*(?P<value>[^\s=!<>,()]*)$"
)
_SEPARATOR = re.compile(r"[,()]")
_BOUND = re.compile(r"-?[0-9]{1,18}")
_LABEL_KEY = re.compile(r"^[^\s=!<>,()]+$")


@dataclass(frozen=True, slots=True)
class LabelRequirement:
    """One requirement of a label selector."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels meets the requirement."""
        found = labels.get(self.key)
        if self.operator == "in":
            return found is not None and found in self.values
        if self.operator == "notin":
            return found is None or found not in self.values
        if self.operator == "exists":
            return found is not None
        if self.operator == "absent":
            return found is None
        return found is not None and self._compare_bound(found)

    def _compare_bound(self, found: str) -> bool:
        (limit,) = self.values
        if not _BOUND.fullmatch(found):
            return False
        return int(found) > int(limit) if self.operator == ">" else int(found) < int(limit)


def _split_requirements(text: str) -> list[str]:
    """The parts of a selector between commas that are not in parentheses."""
    parts, start, is_inside = [], 0, False
    for match in _SEPARATOR.finditer(text):
        if match[0] == ",":
            if not is_inside:
                parts.append(text[start : match.start()].strip())
                start = match.end()
        else:
            is_inside = match[0] == "("
    return [*parts, text[start:].strip()]


def parse_label_selector(text: str) -> tuple[LabelRequirement, ...]:
    """Parses a label selector.

    Raises:
        ApiError: 400, a part does not parse; the message has it.
    """
    if not text.strip():
        return ()
    return tuple(_parse_requirement(part, text) for part in _split_requirements(text))


def _parse_requirement(part: str, text: str) -> LabelRequirement:
    found = _match_requirement(part)
    if found is None:
        raise _selector_error(
            text, f"found {part!r}, expected: KEY, !KEY, KEY=VALUE, KEY in (VALUES)"
        )
    problems = label_key_problems(found.key)
    if found.operator in {"in", "notin"}:
        problems += [line for value in found.values for line in label_value_problems(value)]
    if found.operator in {">", "<"} and not _BOUND.fullmatch(next(iter(found.values))):
        problems.append("for 'Gt', 'Lt' operators, the value must be an integer")
    if problems:
        raise _selector_error(text, problems[0])
    return found


def _match_requirement(part: str) -> LabelRequirement | None:
    if match := _SET_REQUIREMENT.match(part):
        values = frozenset(value.strip() for value in match["values"].split(","))
        return LabelRequirement(match["key"], match["op"], values)
    if match := _EQUALITY_REQUIREMENT.match(part):
        operator = {"=": "in", "==": "in", "!=": "notin"}.get(match["op"], match["op"])
        return LabelRequirement(match["key"], operator, frozenset({match["value"]}))
    if part.startswith("!") and _LABEL_KEY.match(part[1:].strip()):
        return LabelRequirement(part[1:].strip(), "absent")
    return LabelRequirement(part, "exists") if _LABEL_KEY.match(part) else None


def _selector_error(text: str, why: str) -> ApiError:
    return bad_request(f"unable to parse requirement: {why} (label selector {text!r})")


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    """One requirement of a field selector."""

    path: str
    value: str
    must_equal: bool


def parse_field_selector(
    text: str, is_supported: Callable[[str], bool]
) -> tuple[FieldRequirement, ...]:
    """Parses a field selector.

    Args:
        text: the query parameter.
        is_supported: whether the resource supports selection by a field path.

    Raises:
        ApiError: 400, naming the unsupported field or the part that does not parse.
    """
    terms = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        path, operator, value = _split_field_requirement(part)
        if not operator:
            raise bad_request(
                f"invalid field selector {text!r}; can't understand {part!r}; "
                "write FIELD=VALUE or FIELD!=VALUE"
            )
        if not is_supported(path):
            raise bad_request(
                f'Unable to find "{path}" that match label selector "", field selector "{text}": '
                f'"{path}" is not a known field selector: only "metadata.name", '
                '"metadata.namespace"'
                if path.startswith("metadata.")
                else f"field label not supported: {path}"
            )
        terms.append(FieldRequirement(path, value, operator != "!="))
    return tuple(terms)


def _split_field_requirement(part: str) -> tuple[str, str, str]:
    for operator in ("!=", "==", "="):
        path, found, value = part.partition(operator)
        if found:
            return path.strip(), operator, value.strip()
    return part, "", ""


def field_value_of(item: JsonObject, path: str) -> str:
    """The text of a field that a selector compares; an absent field is empty."""
    found = value_at(item, *path.split("."), default="")
    return str(found).lower() if isinstance(found, bool) else str(found)


@dataclass(frozen=True, slots=True)
class SelectionPredicate:
    """The label and field requirements of a list or a watch."""

    labels: tuple[LabelRequirement, ...] = ()
    fields: tuple[FieldRequirement, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.labels or self.fields)

    def matches_stored(self, data: bytes) -> bool:
        """Whether a stored object meets all requirements; decodes no more than it needs."""
        if self.fields:
            return self.matches(msgspec.json.decode(data))
        try:
            labels = _decode_labels(data).metadata.labels or {}
        except msgspec.ValidationError:  # written by an earlier version, with other values
            return self.matches(msgspec.json.decode(data))
        return all(term.matches(labels) for term in self.labels)

    def matches(self, item: JsonObject) -> bool:
        """Whether an object meets all requirements."""
        labels = item.get("metadata", {}).get("labels") or {}
        return all(term.matches(labels) for term in self.labels) and all(
            (field_value_of(item, term.path) == term.value) == term.must_equal
            for term in self.fields
        )
