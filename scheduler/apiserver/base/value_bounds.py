"""Bounds on decoded values: nesting, number of values, length of keys.

Later steps are recursive, build paths from keys, and take time for each value. Besides, one call
into the JSON library gives way to no other thread, so a body is counted before it is decoded.
"""

import re
from collections.abc import Iterable
from contextlib import suppress

import msgspec

from scheduler.apiserver.base.errors import ApiError, bad_request
from scheduler.hub.schema.json_types import Json, JsonObject

MAX_DEPTH = 128
"""The deepest nesting of a body or an object; recursive functions need a few frames per level."""
MAX_VALUES = 100_000
"""The most values, including maps and lists, of an object without its managedFields."""
MAX_BODY_VALUES = 2 * MAX_VALUES
"""The most values of a body, in which managedFields may name each field once more."""
MAX_KEY_LENGTH = 16 * 1024
"""The longest key; keys of managedFields contain values of lists."""
MAX_SHOWN_PATH_LENGTH = 1_024
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[,\[{]', re.DOTALL)


def too_many_values() -> ApiError:
    """413: there are too many values."""
    why = (
        f"the object has more than {MAX_VALUES} values (fields and items of lists); "
        "split it into several objects"
    )
    return ApiError(413, "RequestEntityTooLarge", why)


def check_value_count(data: bytes) -> None:
    """Refuses JSON text with too many values, before it is decoded.

    Raises:
        ApiError: 413, there are more than `MAX_BODY_VALUES`.
    """
    if data.count(b",") + data.count(b"[") + data.count(b"{") < MAX_BODY_VALUES:
        return
    # The marks may stand in texts, so they are counted exactly: one value before or after each.
    count = 1
    for token in _TOKEN.finditer(data):
        count += data[token.start()] != _QUOTE
        if count > MAX_BODY_VALUES:
            raise too_many_values()


_QUOTE = ord('"')


_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_MAX_QUICK_ROUNDS = MAX_DEPTH // 4
"""Each round takes away two levels of nesting at most."""


def without_strings(data: bytes) -> bytes:
    """Valid JSON text without its strings, so that each mark in it has its meaning."""
    return _STRING.sub(b"", data)


def is_surely_within_bounds(data: bytes) -> bool:
    """Whether the text of a valid JSON value shows that the value exceeds no bound.

    To walk the value of 10 kB takes half a millisecond; to look at its text a tenth of that.
    """
    if len(data) <= MAX_KEY_LENGTH and data.count(b"{") + data.count(b"[") < MAX_DEPTH:
        return True
    if len(data) >= MAX_VALUES:  # so long a text may have too many values
        return False
    if len(data) > MAX_KEY_LENGTH and max(map(len, _STRING.findall(data)), default=0) > (
        MAX_KEY_LENGTH
    ):
        return False
    marks = without_strings(data).translate(None, _NO_BRACKETS)
    for _round in range(_MAX_QUICK_ROUNDS):
        if not marks:
            break
        marks = marks.replace(b"{}", b"").replace(b"[]", b"")
    return not marks


def check_bounds(value: Json, max_values: int = MAX_BODY_VALUES) -> None:
    """Refuses values that exceed the bounds.

    Raises:
        ApiError: 400 (nested too deeply, a key is too long), 413 (too many values).
    """
    level = [value]
    count = 1
    for _depth in range(MAX_DEPTH):
        below: list[Json] = []
        for item in level:
            children: Iterable[Json] = ()
            if isinstance(item, dict):
                children = item.values()
                if item and max(map(len, item)) > MAX_KEY_LENGTH:
                    raise bad_request(key_too_long())
            elif isinstance(item, list):
                children = item
            else:
                continue
            count += len(item)
            if count > max_values:
                raise too_many_values()
            below.extend(child for child in children if isinstance(child, dict | list))
        if not below:
            return
        level = below
    raise bad_request(f"the body is nested deeper than {MAX_DEPTH} levels")


def check_object_bounds(item: JsonObject) -> None:
    """Refuses an object that exceeds the bounds; its managedFields do not count.

    Raises:
        ApiError: as `check_bounds`.
    """
    metadata = {key: value for key, value in item["metadata"].items() if key != "managedFields"}
    counted = {**item, "metadata": metadata}
    with suppress(TypeError, ValueError, OverflowError, RecursionError):  # it is walked instead
        if is_surely_within_bounds(msgspec.json.encode(counted)):
            return
    check_bounds(counted, MAX_VALUES)


def key_too_long() -> str:
    """Why a key is refused."""
    return f"a key of the body is longer than {MAX_KEY_LENGTH} characters"
