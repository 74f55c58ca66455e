"""Compiles types into readers and writers, for `codec.py`.

One function per shape (text, number, list, map, record, choice, free JSON). A reader takes a JSON
value and returns a value of the type, or raises `WireError`. Containers prepend their step to the
error's path only when an error passes through them, so that a valid message costs nothing extra.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Literal

from agents.protocol.bounds import (
    MAX_FREE_JSON_DEPTH,
    MAX_INTEGER,
    MAX_LIST_ITEMS,
    MAX_MAP_ENTRIES,
    MAX_NUMBER,
    MAX_TEXT_CHARACTERS,
    AtMost,
    Between,
    InstantText,
    NotEmpty,
    Printable,
    QuantityValues,
    RemainingKeys,
    is_instant_in_range,
    is_unicode,
)
from agents.protocol.errors import WireError
from agents.protocol.quantities import QuantityError, check_amount

Json = Any
"""Any JSON value; in a message at most 64 levels deep, for Kubernetes objects."""

TypeHint = Any
"""A type expression."""

Reader = Callable[[Json], Any]
Writer = Callable[[Any], Any]


def to_camel_case(name: str) -> str:
    """`observed_seconds_ago` as `observedSecondsAgo`."""
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


@cache
def reader_of(hint: TypeHint) -> Reader:
    """Returns the reader of a type; compiles it once."""
    hint, marks = _unwrap_hint(hint)
    origin: TypeHint = typing.get_origin(hint)
    if dataclasses.is_dataclass(hint):
        return _record_reader(hint)
    if origin is tuple:
        return _list_reader(reader_of(typing.get_args(hint)[0]), _bound_of(marks, MAX_LIST_ITEMS))
    if origin is dict:
        key, entry = typing.get_args(hint)
        return _map_reader(reader_of(key), reader_of(entry), marks)
    if origin is Literal:
        return _choice_reader(typing.get_args(hint))
    if origin in (types.UnionType, typing.Union):
        return _union_reader(typing.get_args(hint), marks)
    return _scalar_reader(hint, marks)


@cache
def writer_of(hint: TypeHint) -> Writer:
    """Returns the writer of a type; compiles it once."""
    hint, _ = _unwrap_hint(hint)
    origin: TypeHint = typing.get_origin(hint)
    if dataclasses.is_dataclass(hint):
        return _record_writer(hint)
    if origin is tuple:
        item = writer_of(typing.get_args(hint)[0])
        return lambda value: [item(each) for each in value]
    if origin is dict:
        entry = writer_of(typing.get_args(hint)[1])
        return lambda value: {key: entry(each) for key, each in value.items()}
    return _write_unchanged


def _write_unchanged(value: Json) -> Json:
    return value


def _unwrap_hint(hint: TypeHint) -> tuple[TypeHint, tuple[object, ...]]:
    """Strips `Annotated` and `| None` off a type; returns it with its marks.

    Whether a field may be absent is checked by the record that has it.
    """
    marks: tuple[object, ...] = ()
    while True:
        origin: TypeHint = typing.get_origin(hint)
        if origin is typing.Annotated:
            marks += tuple(hint.__metadata__)
            hint = hint.__origin__
            continue
        members = typing.get_args(hint)
        if origin in (types.UnionType, typing.Union) and type(None) in members:
            rest = tuple(member for member in members if member is not type(None))
            hint = rest[0] if len(rest) == 1 else typing.Union[rest]  # noqa: UP007 - built at run time
            continue
        return hint, marks


def _bound_of(marks: tuple[object, ...], default: int) -> int:
    return next((mark.count for mark in marks if isinstance(mark, AtMost)), default)


def _json_type_name(value: object) -> str:
    names = {
        dict: "an object",
        list: "a list",
        str: "text",
        bool: "true or false",
        float: "a number",
    }
    return names.get(type(value), "a number" if isinstance(value, int) else "null")


# ---------------------------------------------------------------- scalars


def _scalar_reader(hint: TypeHint, marks: tuple[object, ...]) -> Reader:
    span = next((mark for mark in marks if isinstance(mark, Between)), None)
    if hint is str:
        is_required = any(isinstance(mark, NotEmpty) for mark in marks)
        is_printable = any(isinstance(mark, Printable) for mark in marks)
        check = _check_printable if is_printable else _check_surrogates
        read_text = _text_reader(_bound_of(marks, MAX_TEXT_CHARACTERS), int(is_required), check)
        has_instant = any(isinstance(mark, InstantText) for mark in marks)
        return _instant_reader(read_text) if has_instant else read_text
    if hint is bool:
        return _read_bool
    if hint is int:
        return _integer_reader(span or Between(-MAX_INTEGER, MAX_INTEGER))
    if hint is float:
        return _number_reader(span or Between(-MAX_NUMBER, MAX_NUMBER))
    if hint is Any:
        return lambda value: _read_free_json(value, 0)
    raise TypeError(f"{hint!r}: not a type that the wire protocol has")


def _text_reader(
    max_characters: int, min_characters: int, check: Callable[[str], str]
) -> Callable[[Json], str]:
    def read(value: Json) -> str:
        if type(value) is not str:
            raise WireError("malformed", f"expected text, found {_json_type_name(value)}")
        if len(value) > max_characters:
            raise WireError(
                "too-large", f"{len(value)} characters; at most {max_characters} are allowed"
            )
        if len(value) < min_characters:
            raise WireError("malformed", "expected text that is not empty")
        return check(value)

    return read


def _instant_reader(read_text: Callable[[Json], str]) -> Reader:
    def read(value: Json) -> str:
        text = read_text(value)
        if not is_instant_in_range(text):
            raise WireError("malformed", "expected an instant from 1970 to 2200")
        return text

    return read


def _check_surrogates(text: str) -> str:
    if not is_unicode(text):
        raise WireError("malformed", "a lone surrogate is not valid text")
    return text


def _check_printable(text: str) -> str:
    if not text.isprintable():  # a lone surrogate is not printable either
        raise WireError("malformed", "expected text without control and format characters")
    return text


def _read_bool(value: Json) -> bool:
    if type(value) is not bool:
        raise WireError("malformed", f"expected true or false, found {_json_type_name(value)}")
    return value


def _integer_reader(span: Between) -> Reader:
    low, high = span.low, span.high

    def read(value: Json) -> int:
        if type(value) is not int:
            raise WireError("malformed", f"expected a whole number, found {_json_type_name(value)}")
        if not low <= value <= high:
            raise WireError("malformed", f"expected a number from {low:g} to {high:g}")
        return value

    return read


def _number_reader(span: Between) -> Reader:
    low, high = span.low, span.high

    def read(value: Json) -> float:
        if type(value) is int and abs(value) <= MAX_INTEGER:
            value = float(value)
        if type(value) is not float or not math.isfinite(value):
            raise WireError(
                "malformed", f"expected a finite number, found {_json_type_name(value)}"
            )
        if not low <= value <= high:
            raise WireError("malformed", f"expected a number from {low:g} to {high:g}")
        return value

    return read


def _choice_reader(choices: tuple[object, ...]) -> Reader:
    known = frozenset(choices)
    words = ", ".join(str(choice) for choice in choices)

    def read(value: Json) -> Json:
        if type(value) is not str or value not in known:
            raise WireError("malformed", f"expected one of {words}")
        return value

    return read


def _union_reader(members: tuple[Any, ...], marks: tuple[object, ...]) -> Reader:
    """One of several scalars, selected by the JSON type: `str | int`."""
    readers = {member: _scalar_reader(member, marks) for member in members}
    words = " or ".join(_json_type_name(member()) for member in members)

    def read(value: Json) -> Json:
        reader = readers.get(type(value))
        if reader is None:
            raise WireError("malformed", f"expected {words}, found {_json_type_name(value)}")
        return reader(value)

    return read


# ---------------------------------------------------------------- containers


def _list_reader(read_item: Reader, max_items: int) -> Reader:
    def read(value: Json) -> tuple[Any, ...]:
        if type(value) is not list:
            raise WireError("malformed", f"expected a list, found {_json_type_name(value)}")
        if len(value) > max_items:
            raise WireError("too-large", f"{len(value)} items; at most {max_items} are allowed")
        items: list[Any] = []
        try:
            for item in value:
                items.append(read_item(item))  # noqa: PERF401 - len(items) is the failing index
        except WireError as error:
            raise error.with_path_prefix(f"[{len(items)}]") from None
        return tuple(items)

    return read


def _map_reader(read_key: Reader, read_entry: Reader, marks: tuple[object, ...]) -> Reader:
    max_entries = _bound_of(marks, MAX_MAP_ENTRIES)
    has_quantities = any(isinstance(mark, QuantityValues) for mark in marks)

    def read(value: Json) -> dict[str, Any]:
        if type(value) is not dict:
            raise WireError("malformed", f"expected an object, found {_json_type_name(value)}")
        if len(value) > max_entries:
            raise WireError("too-large", f"{len(value)} entries; at most {max_entries} are allowed")
        entries: dict[str, Any] = {}
        for key, entry in value.items():
            try:
                entries[read_key(key)] = read_entry(entry)
                if has_quantities:
                    check_amount(key, entry)
            except QuantityError as error:
                raise WireError("malformed", ascii(error)[:200], repr(key[:64])) from None
            except WireError as error:
                raise error.with_path_prefix(repr(key[:64])) from None
        return entries

    return read


def _read_free_json(value: Json, depth: int) -> Json:
    if depth >= MAX_FREE_JSON_DEPTH and type(value) in (dict, list):
        raise WireError("too-deep", f"nested deeper than {MAX_FREE_JSON_DEPTH} levels")
    if type(value) is dict:
        return {
            _check_surrogates(key): _read_free_json(entry, depth + 1)
            for key, entry in value.items()
        }
    if type(value) is list:
        return [_read_free_json(item, depth + 1) for item in value]
    if type(value) is str:
        return _check_surrogates(value)
    if type(value) is float and not math.isfinite(value):
        raise WireError("malformed", "expected a finite number")
    if type(value) is int and abs(value) > MAX_INTEGER:
        raise WireError("malformed", "expected a whole number of at most 64 bits")
    return value


# ---------------------------------------------------------------- records


def _wire_fields_of(
    record: TypeHint,
) -> Iterator[tuple["dataclasses.Field[Any]", str, TypeHint, bool]]:
    """Yields every field with its JSON key, its type, and whether it is marked `RemainingKeys`."""
    hints = typing.get_type_hints(record, include_extras=True)
    for each in dataclasses.fields(record):
        hint = hints[each.name]
        yield (
            each,
            to_camel_case(each.name),
            hint,
            any(isinstance(m, RemainingKeys) for m in _unwrap_hint(hint)[1]),
        )


def _is_required(each: "dataclasses.Field[Any]") -> bool:
    return each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING


def _record_reader(record: TypeHint) -> Reader:
    plain: list[tuple[str, str, Reader, bool]] = []
    rest: tuple[str, Reader] | None = None
    for each, key, hint, is_rest in _wire_fields_of(record):
        if is_rest:
            rest = (each.name, reader_of(hint))
        else:
            plain.append((each.name, key, reader_of(hint), _is_required(each)))
    claimed = frozenset(key for _, key, _, _ in plain)

    def read(value: Json) -> Json:
        if type(value) is not dict:
            raise WireError("malformed", f"expected an object, found {_json_type_name(value)}")
        found = {}
        for attribute, key, read_field, is_required in plain:
            raw = value.get(key)
            if raw is None:
                if is_required:
                    raise WireError("malformed", "is required", key)
                continue
            try:
                found[attribute] = read_field(raw)
            except WireError as error:
                raise error.with_path_prefix(key) from None
        if rest is not None:
            found[rest[0]] = rest[1](_without(value, claimed))
        return record(**found)

    return read


def _without(value: Mapping[str, Any], claimed: frozenset[str]) -> dict[str, Any]:
    return {key: entry for key, entry in value.items() if key not in claimed}


def _record_writer(record: TypeHint) -> Writer:
    fields = [
        (each.name, key, writer_of(hint), is_rest)
        for each, key, hint, is_rest in _wire_fields_of(record)
    ]

    def write(value: Json) -> dict[str, Any]:
        tree: dict[str, Any] = {}
        for attribute, key, write_field, is_rest in fields:
            each = getattr(value, attribute)
            if each is None:
                continue
            if is_rest:
                tree.update(write_field(each))
            else:
                tree[key] = write_field(each)
        return tree

    return write
