"""JSON Patch (RFC 6902) on decoded JSON; documents stay as they are, and parts are copied. Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from scheduler.model.kinds.overrides import PatchOperation

MAX_WRITTEN_BYTES = 262_144
"""The most that one patch writes, as JSON: copies of copies would double without an end."""

_MAX_SHOWN = 80
_INDEX = re.compile(r"0|[1-9][0-9]{0,6}")
_BAD_ESCAPE = re.compile(r"~(?![01])")

Pointer = tuple[str, ...]


class PatchFailed(ValueError):
    """An operation cannot be carried out; the message names it and says why."""


class _NoSuchPlace(ValueError):
    """A pointer leads nowhere; the message says where it ends."""


def parse_pointer(text: str) -> Pointer:
    """The steps of a JSON Pointer (RFC 6901); none for the whole document.

    `~1` stands for a slash in a name and `~0` for a tilde. `..` is a name like any other.

    Raises:
        PatchFailed: it is no pointer.
    """
    if not text:
        return ()
    if not text.startswith("/"):
        raise PatchFailed(f"{shown(text)} is no JSON Pointer; begin it with /")
    if _BAD_ESCAPE.search(text):
        raise PatchFailed(f"{shown(text)}: write ~0 for ~, and ~1 for a slash in a name")
    return tuple(each.replace("~1", "/").replace("~0", "~") for each in text[1:].split("/"))


def shown(text: str) -> str:
    """A text for a message, in few characters and without control characters."""
    return ascii(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…")[1:-1] or '""'


def apply_patch(
    document: Mapping[str, Any], operations: Sequence[PatchOperation], where: str
) -> dict[str, Any]:
    """The document after all operations, in order.

    Args:
        document: an object; it and its parts stay as they are.
        operations: what to do.
        where: path of the list of operations, for messages.

    Raises:
        PatchFailed: an operation cannot be carried out; then none of them counts.
    """
    result: Any = document
    written = 0
    for number, each in enumerate(operations):
        try:
            result, size = _carry_out(result, each)
        except (_NoSuchPlace, PatchFailed) as error:
            raise PatchFailed(f"{where}[{number}]: {each.op} {shown(each.path)}: {error}") from None
        written += size
        if written > MAX_WRITTEN_BYTES:
            raise PatchFailed(f"{where}: writes more than {MAX_WRITTEN_BYTES} bytes")
    if not isinstance(result, Mapping):
        raise PatchFailed(f"{where}: the result is no object")
    return dict(result)


def value_at(document: object, pointer: Pointer) -> Any:  # noqa: ANN401 - JSON
    """The value that a pointer leads to.

    Raises:
        PatchFailed: there is none.
    """
    try:
        return _get(document, pointer)
    except _NoSuchPlace as error:
        raise PatchFailed(str(error)) from None


def are_equal(one: object, other: object) -> bool:
    """Whether two JSON values are equal (RFC 6902, 4.6): numbers by value, True is no number."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(are_equal(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(are_equal, one, other))
    return one == other


def _carry_out(document: Any, operation: PatchOperation) -> tuple[Any, int]:  # noqa: ANN401 - JSON
    """The document after one operation, and the bytes that it wrote."""
    path = parse_pointer(operation.path)
    match operation.op:
        case "test":
            if not are_equal(_get(document, path), operation.value):
                raise _NoSuchPlace("the object has another value there")
            return document, 0
        case "remove":
            return _without(document, path), 0
        case "add":
            return _with(document, path, operation.value), _size(operation.value)
        case "replace":
            _get(document, path)
            return _replaced(document, path, operation.value), _size(operation.value)
        case _:
            source = parse_pointer(operation.from_)
            value = _get(document, source)
            if operation.op == "move":
                if path[: len(source)] == source and len(path) > len(source):
                    raise _NoSuchPlace(f"from {shown(operation.from_)} cannot move into itself")
                document = _without(document, source)
            return _with(document, path, value), _size(value)


def _size(value: object) -> int:
    try:
        return len(msgspec.json.encode(value))
    except (TypeError, ValueError, OverflowError, RecursionError):
        return MAX_WRITTEN_BYTES + 1


def _get(document: object, pointer: Pointer) -> Any:  # noqa: ANN401 - JSON
    value: Any = document
    for depth, step in enumerate(pointer):
        value = _child(value, step, pointer[: depth + 1])
    return value


def _child(value: object, step: str, pointer: Pointer) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, Mapping) and step in value:
        return value[step]
    if isinstance(value, list | tuple) and _INDEX.fullmatch(step) and int(step) < len(value):
        return value[int(step)]
    raise _NoSuchPlace(f"there is no {format_pointer(pointer)}")


def format_pointer(pointer: Pointer) -> str:
    """A pointer as text."""
    steps = (each.replace("~", "~0").replace("/", "~1") for each in pointer)
    return shown("".join(f"/{each}" for each in steps))


def _changed(document: Any, pointer: Pointer, depth: int, last: Any) -> Any:  # noqa: ANN401 - JSON
    """A copy of the containers along a pointer; `last` changes the innermost one."""
    if depth == len(pointer) - 1:
        return last(document)
    step = pointer[depth]
    inner = _changed(_child(document, step, pointer[: depth + 1]), pointer, depth + 1, last)
    if isinstance(document, Mapping):
        return {**document, step: inner}
    items = list(document)
    items[int(step)] = inner
    return items


def _with(document: Any, pointer: Pointer, value: Any) -> Any:  # noqa: ANN401 - JSON
    def add(holder: Any) -> Any:  # noqa: ANN401 - JSON
        step = pointer[-1]
        if isinstance(holder, Mapping):
            return {**holder, step: value}
        if isinstance(holder, list | tuple):
            items = list(holder)
            if step == "-":
                return [*items, value]
            if _INDEX.fullmatch(step) and int(step) <= len(items):
                items.insert(int(step), value)
                return items
        raise _NoSuchPlace(f"there is no {format_pointer(pointer)}")

    return _changed(document, pointer, 0, add) if pointer else value


def _replaced(document: Any, pointer: Pointer, value: Any) -> Any:  # noqa: ANN401 - JSON
    def replace(holder: Any) -> Any:  # noqa: ANN401 - JSON
        if isinstance(holder, Mapping):
            return {**holder, pointer[-1]: value}
        items = list(holder)
        items[int(pointer[-1])] = value
        return items

    return _changed(document, pointer, 0, replace) if pointer else value


def _without(document: Any, pointer: Pointer) -> Any:  # noqa: ANN401 - JSON
    def remove(holder: Any) -> Any:  # noqa: ANN401 - JSON
        _child(holder, pointer[-1], pointer)
        if isinstance(holder, Mapping):
            return {name: each for name, each in holder.items() if name != pointer[-1]}
        index = int(pointer[-1])
        return [*holder[:index], *holder[index + 1 :]]

    if not pointer:
        raise _NoSuchPlace("the whole object cannot be removed")
    return _changed(document, pointer, 0, remove)
