"""Compiles types into readers and writers: the inner half of `codec`.

One function per shape (text, number, list, map, record, choice, free JSON). A reader takes a JSON
value and gives a value of the type or raises `WireError`; containers add their step to the error's
path only when there is one, so a good message pays nothing for it.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal

from agents.protocol.errors import WireError

Json = Any
"""A JSON value; a field of this type holds any, at most 64 levels deep (a Kubernetes object)."""

Hint = Any
"""A type expression."""

Reader = Callable[[Json], Any]
Writer = Callable[[Any], Any]

DEFAULT_TEXT_CHARACTERS: Final = 1024
DEFAULT_LIST_ITEMS: Final = 10_000
DEFAULT_MAP_ENTRIES: Final = 256
DEEPEST_FREE_JSON: Final = 64
_LARGEST_INTEGER: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class AtMost:
    """Bounds a text's characters, a list's items or a map's entries."""

    count: int


@dataclass(frozen=True, slots=True)
class Between:
    """Bounds a number, both ends included."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Rest:
    """Marks the map field that takes every key of the object which no other field claims."""


def camel(name: str) -> str:
    """`observed_seconds_ago` as `observedSecondsAgo`."""
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


@cache
def reader_of(hint: Hint) -> Reader:
    """Compiles the reader of a type, once."""
    hint, marks = _unwrap(hint)
    origin: Hint = typing.get_origin(hint)
    if dataclasses.is_dataclass(hint):
        return _record_reader(hint)
    if origin is tuple:
        return _list_reader(reader_of(typing.get_args(hint)[0]), _count(marks, DEFAULT_LIST_ITEMS))
    if origin is dict:
        return _map_reader(reader_of(typing.get_args(hint)[1]), _count(marks, DEFAULT_MAP_ENTRIES))
    if origin is Literal:
        return _choice_reader(typing.get_args(hint))
    if origin in (types.UnionType, typing.Union):
        return _either_reader(typing.get_args(hint), marks)
    return _scalar_reader(hint, marks)


@cache
def writer_of(hint: Hint) -> Writer:
    """Compiles the writer of a type, once."""
    hint, _ = _unwrap(hint)
    origin: Hint = typing.get_origin(hint)
    if dataclasses.is_dataclass(hint):
        return _record_writer(hint)
    if origin is tuple:
        item = writer_of(typing.get_args(hint)[0])
        return lambda value: [item(each) for each in value]
    if origin is dict:
        entry = writer_of(typing.get_args(hint)[1])
        return lambda value: {key: entry(each) for key, each in value.items()}
    return _same


def _same(value: Json) -> Json:
    return value


def _unwrap(hint: Hint) -> tuple[Hint, tuple[object, ...]]:
    """Takes `Annotated` and `| None` off: absence is the record's business."""
    marks: tuple[object, ...] = ()
    while True:
        origin: Hint = typing.get_origin(hint)
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


def _count(marks: tuple[object, ...], default: int) -> int:
    return next((mark.count for mark in marks if isinstance(mark, AtMost)), default)


def _name(value: object) -> str:
    names = {
        dict: "an object",
        list: "a list",
        str: "text",
        bool: "true or false",
        float: "a number",
    }
    return names.get(type(value), "a number" if isinstance(value, int) else "null")


# ---------------------------------------------------------------- scalars


def _scalar_reader(hint: Hint, marks: tuple[object, ...]) -> Reader:
    span = next((mark for mark in marks if isinstance(mark, Between)), None)
    if hint is str:
        return _text_reader(_count(marks, DEFAULT_TEXT_CHARACTERS))
    if hint is bool:
        return _read_flag
    if hint is int:
        return _integer_reader(span or Between(-_LARGEST_INTEGER, _LARGEST_INTEGER))
    if hint is float:
        return _number_reader(span or Between(-math.inf, math.inf))
    if hint is Any:
        return lambda value: _free_json(value, 0)
    raise TypeError(f"{hint!r}: the wire has no such shape")


def _text_reader(longest: int) -> Reader:
    def read(value: Json) -> str:
        if type(value) is not str:
            raise WireError("malformed", f"expected text, found {_name(value)}")
        if len(value) > longest:
            raise WireError("too-large", f"{len(value)} characters; at most {longest}")
        return _sound(value)

    return read


def _sound(text: str) -> str:
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise WireError("malformed", "half a surrogate pair is not text")
    return text


def _read_flag(value: Json) -> bool:
    if type(value) is not bool:
        raise WireError("malformed", f"expected true or false, found {_name(value)}")
    return value


def _integer_reader(span: Between) -> Reader:
    low, high = span.low, span.high

    def read(value: Json) -> int:
        if type(value) is not int:
            raise WireError("malformed", f"expected a whole number, found {_name(value)}")
        if not low <= value <= high:
            raise WireError("malformed", f"a number from {low:g} to {high:g} is expected")
        return value

    return read


def _number_reader(span: Between) -> Reader:
    low, high = span.low, span.high

    def read(value: Json) -> float:
        if type(value) is int and abs(value) <= _LARGEST_INTEGER:
            value = float(value)
        if type(value) is not float or not math.isfinite(value):
            raise WireError("malformed", f"expected a finite number, found {_name(value)}")
        if not low <= value <= high:
            raise WireError("malformed", f"a number from {low:g} to {high:g} is expected")
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


def _either_reader(members: tuple[Any, ...], marks: tuple[object, ...]) -> Reader:
    """One of several scalars, told apart by the JSON type: `str | int`."""
    readers = {member: _scalar_reader(member, marks) for member in members}
    words = " or ".join(_name(member()) for member in members)

    def read(value: Json) -> Json:
        reader = readers.get(type(value))
        if reader is None:
            raise WireError("malformed", f"expected {words}, found {_name(value)}")
        return reader(value)

    return read


# ---------------------------------------------------------------- containers


def _list_reader(read_item: Reader, most: int) -> Reader:
    def read(value: Json) -> tuple[Any, ...]:
        if type(value) is not list:
            raise WireError("malformed", f"expected a list, found {_name(value)}")
        if len(value) > most:
            raise WireError("too-large", f"{len(value)} items; at most {most}")
        items: list[Any] = []
        try:
            for item in value:
                items.append(read_item(item))  # noqa: PERF401 - its length is the failing index
        except WireError as error:
            raise error.inside(f"[{len(items)}]") from None
        return tuple(items)

    return read


def _map_reader(read_entry: Reader, most: int) -> Reader:
    read_key = _text_reader(DEFAULT_TEXT_CHARACTERS)

    def read(value: Json) -> dict[str, Any]:
        if type(value) is not dict:
            raise WireError("malformed", f"expected an object, found {_name(value)}")
        if len(value) > most:
            raise WireError("too-large", f"{len(value)} entries; at most {most}")
        entries: dict[str, Any] = {}
        for key, entry in value.items():
            try:
                entries[read_key(key)] = read_entry(entry)
            except WireError as error:
                raise error.inside(repr(key[:64])) from None
        return entries

    return read


def _free_json(value: Json, depth: int) -> Json:
    if depth >= DEEPEST_FREE_JSON and type(value) in (dict, list):
        raise WireError("too-deep", f"nested deeper than {DEEPEST_FREE_JSON} levels")
    if type(value) is dict:
        return {_sound(key): _free_json(entry, depth + 1) for key, entry in value.items()}
    if type(value) is list:
        return [_free_json(item, depth + 1) for item in value]
    if type(value) is str:
        return _sound(value)
    if type(value) is float and not math.isfinite(value):
        raise WireError("malformed", "expected a finite number")
    if type(value) is int and abs(value) > _LARGEST_INTEGER:
        raise WireError("malformed", "a whole number of more than 64 bits")
    return value


# ---------------------------------------------------------------- records


def _hints_of(record: Hint) -> Iterator[tuple["dataclasses.Field[Any]", str, Hint, bool]]:
    """Every field with its wire key, its type, and whether it takes the rest."""
    hints = typing.get_type_hints(record, include_extras=True)
    for each in dataclasses.fields(record):
        hint = hints[each.name]
        yield each, camel(each.name), hint, any(isinstance(m, Rest) for m in _unwrap(hint)[1])


def _is_required(each: "dataclasses.Field[Any]") -> bool:
    return each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING


def _record_reader(record: Hint) -> Reader:
    plain: list[tuple[str, str, Reader, bool]] = []
    rest: tuple[str, Reader] | None = None
    for each, key, hint, is_rest in _hints_of(record):
        if is_rest:
            rest = (each.name, reader_of(hint))
        else:
            plain.append((each.name, key, reader_of(hint), _is_required(each)))
    claimed = frozenset(key for _, key, _, _ in plain)

    def read(value: Json) -> Json:
        if type(value) is not dict:
            raise WireError("malformed", f"expected an object, found {_name(value)}")
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
                raise error.inside(key) from None
        if rest is not None:
            found[rest[0]] = rest[1](_without(value, claimed))
        return record(**found)

    return read


def _without(value: Mapping[str, Any], claimed: frozenset[str]) -> dict[str, Any]:
    return {key: entry for key, entry in value.items() if key not in claimed}


def _record_writer(record: Hint) -> Writer:
    fields = [
        (each.name, key, writer_of(hint), is_rest) for each, key, hint, is_rest in _hints_of(record)
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
