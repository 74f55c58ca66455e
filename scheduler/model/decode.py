"""Decodes objects into types; errors name the object, the field, and what to write instead."""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from scheduler.model.kinds.fields import API_VERSION, Part
from scheduler.model.kinds.kinds import KINDS
from scheduler.model.kinds.metadata import Metadata

Of = TypeVar("Of", bound=Part)


class NotReadable(ValueError):
    """An object or a part of it cannot be decoded.

    Attributes:
        path: the field, as `spec.placement.spread[0].by`; empty for the whole object.
        problem: what is wrong with it.
    """

    def __init__(self, what: str, path: str, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(": ".join(part for part in (what, path, problem) if part))


def decode(raw: Mapping[str, Any], *, allow_unknown: bool = False) -> Part:
    """Decodes one object of `kapok.dev/v1alpha1`.

    Args:
        raw: the object as JSON or YAML holds it.
        allow_unknown: ignore unknown fields; for objects from an API server, which has checked
            them, perhaps with the schema of a newer version.

    Raises:
        NotReadable: the object is not of one of our kinds, or a field is wrong.
    """
    kind = raw.get("kind")
    known = KINDS.get(kind) if isinstance(kind, str) else None
    if known is None or raw.get("apiVersion") != API_VERSION:
        raise NotReadable(_title(raw), "", _unknown_kind_message(raw))
    return decode_as(raw, known.type, allow_unknown=allow_unknown)


def decode_as(raw: Mapping[str, Any], part_type: type[Of], *, allow_unknown: bool = False) -> Of:
    """Decodes one object or part as a given type.

    Raises:
        NotReadable: a field is wrong; the message names object and path.
    """
    if not allow_unknown:
        for path, problem in _unknown_fields(raw, _type_info(part_type), ""):
            raise NotReadable(_title(raw), path, problem)
    try:
        return msgspec.convert(raw, part_type)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$")
        path = path.rstrip("`").lstrip(".")
        raise NotReadable(
            _title(raw), path, problem + _accepted_values_hint(_type_info(part_type), path)
        ) from None


def _title(raw: object) -> str:
    if not isinstance(raw, Mapping):
        return "object"
    metadata = raw.get("metadata")
    names = metadata if isinstance(metadata, Mapping) else {}
    key = "/".join(str(names[part]) for part in ("namespace", "name") if names.get(part))
    return f"{raw.get('kind', 'object')} {key}".strip()


def _unknown_kind_message(raw: Mapping[str, Any]) -> str:
    kind, version = raw.get("kind"), raw.get("apiVersion")
    if isinstance(kind, str) and kind in KINDS:
        return f"apiVersion is {version!r}; write {API_VERSION}"
    near = get_close_matches(str(kind)[:_MAX_KIND_SHOWN], KINDS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(KINDS)}"
    return f"no such kind {str(kind)[:_MAX_KIND_SHOWN]!r} in {API_VERSION}; {hint}"


_MAX_KIND_SHOWN = 100
"""Finding near words takes time with the square of their lengths."""


def _accepted_values_hint(info: inspect.Type, path: str) -> str:
    """The values that a field accepts: those of a closed list, or the description of its type."""
    for step in _PATH_STEP.findall(path):
        info = next(_nested_types(info, step), inspect.AnyType())
    found = list(_alternatives(info))
    for each in found:
        if isinstance(each, inspect.LiteralType):
            return f"; write one of {', '.join(map(str, each.values))}"
    for each in found:
        if isinstance(each, inspect.Metadata) and (each.extra_json_schema or {}).get("description"):
            return f"; it accepts: {(each.extra_json_schema or {})['description']}"
    return ""


_PATH_STEP = re.compile(r"[^.\[\]]+|\[[^\]]*\]")


def _nested_types(info: inspect.Type, step: str) -> Iterator[inspect.Type]:
    for each in _alternatives(info):
        match each:
            case inspect.StructType():
                yield from (field.type for field in each.fields if field.encode_name == step)
            case inspect.VarTupleType():
                yield each.item_type
            case inspect.DictType():
                yield each.value_type
            case _:  # a scalar has no nested types
                pass


def _alternatives(info: inspect.Type) -> Iterator[inspect.Type]:
    """A type, the members of a union, and the type inside a `Metadata` wrapper."""
    yield info
    if isinstance(info, inspect.Metadata):
        yield from _alternatives(info.type)
    if isinstance(info, inspect.UnionType):
        for each in info.types:
            yield from _alternatives(each)


@cache
def _type_info(part_type: type[Part]) -> inspect.Type:
    return inspect.type_info(part_type)


def _unknown_fields(raw: object, info: inspect.Type, path: str) -> Iterator[tuple[str, str]]:
    match info:
        case inspect.Metadata():
            yield from _unknown_fields(raw, info.type, path)
        case inspect.StructType() if isinstance(raw, Mapping) and info.cls is not Metadata:
            yield from _unknown_in_struct(raw, info, path)
        case inspect.VarTupleType() if isinstance(raw, list | tuple):
            for index, each in enumerate(raw):
                yield from _unknown_fields(each, info.item_type, f"{path}[{index}]")
        case inspect.UnionType():
            for each in info.types:
                yield from _unknown_fields(raw, each, path)
        case _:  # scalars and free-form maps have no fields
            pass


def _unknown_in_struct(
    raw: Mapping[str, Any], info: inspect.StructType, path: str
) -> Iterator[tuple[str, str]]:
    fields = {field.encode_name: field for field in info.fields}
    for name, value in raw.items():
        field_path = f"{path}.{name}" if path else str(name)
        field = fields.get(name)
        if field is None:
            near = get_close_matches(str(name), fields, n=1)
            yield field_path, "no such field" + (f"; did you mean {near[0]}?" if near else "")
        else:
            yield from _unknown_fields(value, field.type, field_path)


def decode_json(body: bytes, kind: Any) -> Any:  # noqa: ANN401 - a type or a union of types
    """Reads JSON where `3.0` is the whole number that it is in JSON Schema.

    Args:
        body: JSON.
        kind: what it is.

    Raises:
        msgspec.DecodeError: it is no JSON, or of another form; the message says where.
        RecursionError: it is too deep.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError:
        return msgspec.convert(_with_whole_numbers(msgspec.json.decode(body)), kind)


def _with_whole_numbers(value: Any) -> Any:  # noqa: ANN401 - JSON
    match value:
        case float():
            return int(value) if value.is_integer() else value
        case list():
            return [_with_whole_numbers(one) for one in value]
        case dict():
            return {name: _with_whole_numbers(one) for name, one in value.items()}
        case _:
            return value
