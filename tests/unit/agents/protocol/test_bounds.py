"""Every field of every message has a stated range; beyond it is a `WireError`, nothing else."""

import dataclasses
import json
import types
import typing
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.protocol.bounds import (
    MAX_EPOCH,
    MAX_INTEGER,
    MAX_LIST_ITEMS,
    MAX_MAP_ENTRIES,
    MAX_NUMBER,
    MAX_SECONDS,
    MAX_TEXT_CHARACTERS,
    AtMost,
    Between,
    NotEmpty,
    Printable,
    QuantityValues,
    RemainingKeys,
)
from agents.protocol.codec import Codec
from agents.protocol.delta import decode_report
from agents.protocol.envelope import Envelope
from agents.protocol.errors import WIRE_ERROR_REASONS, WireError
from agents.protocol.hub_requests import HubRequest
from agents.protocol.index import DesiredIndex
from agents.protocol.index_delta import IndexDelta
from agents.protocol.orders import OrderContent
from agents.protocol.report import REPORT, Offline, Report, ReportDelta
from agents.protocol.shapes import to_camel_case
from agents.protocol.status import SITE_STATUS, SiteStatusMessage
from tests.support.counts import examples

MESSAGES = (
    *(Report, ReportDelta, Offline, DesiredIndex, IndexDelta),
    *(OrderContent, SiteStatusMessage, HubRequest, Envelope),
)
Hint = Any
Path = tuple[str | int, ...]
ABSURD: tuple[Any, ...] = (
    *(-1, 0, 1, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**400, 1e12, 1e300, -0.0),
    *(True, "", "\ud800", "x" * 5_000, "\u202e", "8Ei", "9" * 64, "-1", "1e99", "NaN"),
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"),
    *([], [None], [[]], {}, {"": 1}, {"cpu": "x"}, {"a": {"b": []}}, None),
)


def origin_of(hint: Hint) -> Hint:
    return typing.get_origin(hint)


def unwrapped(hint: Hint) -> tuple[Hint, tuple[Any, ...]]:
    marks: tuple[Any, ...] = ()
    while True:
        origin, inner = origin_of(hint), typing.get_args(hint)
        if origin is typing.Annotated:
            marks += tuple(hint.__metadata__)
            hint = hint.__origin__
        elif origin in (types.UnionType, typing.Union) and type(None) in inner:
            [hint] = [each for each in inner if each is not type(None)]
        else:
            return hint, marks


def fields_of(hint: Hint, path: Path = ()) -> Iterator[tuple[Path, Hint, tuple[Any, ...]]]:
    """Every field, with the path at which its value stands in a smallest message."""
    hint, marks = unwrapped(hint)
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint, include_extras=True)
        for each in dataclasses.fields(hint):
            _, inner_marks = unwrapped(hints[each.name])
            is_rest = any(isinstance(mark, RemainingKeys) for mark in inner_marks)
            key: Path = (*path, "cpu") if is_rest else (*path, to_camel_case(each.name))
            if is_rest:
                yield key, str, (QuantityValues(),)
            else:
                yield from fields_of(hints[each.name], key)
        return
    yield path, hint, marks
    if origin_of(hint) is tuple:
        yield from fields_of(typing.get_args(hint)[0], (*path, 0))


def smallest(hint: Hint) -> Any:  # noqa: ANN401 - any JSON value; one per type
    """The smallest value of a type that has every field, so that each can be replaced."""
    hint, marks = unwrapped(hint)
    origin = origin_of(hint)
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint, include_extras=True)
        tree: dict[str, Any] = {}
        for each in dataclasses.fields(hint):
            value = smallest(hints[each.name])
            is_rest = any(isinstance(m, RemainingKeys) for m in unwrapped(hints[each.name])[1])
            tree |= value if is_rest else {to_camel_case(each.name): value}
        return tree
    if origin is tuple:
        return [smallest(typing.get_args(hint)[0])]
    if origin is dict:
        return {"cpu": 1} if any(isinstance(m, QuantityValues) for m in marks) else {}
    if origin is Literal:
        return typing.get_args(hint)[0]
    span = next((mark for mark in marks if isinstance(mark, Between)), Between(0, 1))
    return {str: "x", bool: True, int: int(span.low), float: span.low}.get(hint, {})


def replaced(tree: Any, path: Path, value: object) -> Any:  # noqa: ANN401 - a JSON tree
    if not path:
        return value
    step, *rest = path
    if isinstance(tree, list):
        return [replaced(tree[0], tuple(rest), value)]
    return {**tree, step: replaced(tree.get(step), tuple(rest), value)}


def at_the_bounds(  # noqa: PLR0911 - one per type
    hint: Hint, marks: tuple[Any, ...]
) -> tuple[list[Any], list[Any]]:
    """Values at the ends of a field's range, and values just beyond them."""
    span = next((mark for mark in marks if isinstance(mark, Between)), None)
    longest = next((mark.count for mark in marks if isinstance(mark, AtMost)), None)
    if any(isinstance(mark, QuantityValues) for mark in marks) and hint is str:
        return [0, "0", (2**62 - 1) // 1000, "7500m"], [-1, "-1m", 2**62 // 1000 + 1, "8Ei", "x"]
    if hint is int:
        span = span or Between(-MAX_INTEGER, MAX_INTEGER)
        low, high = int(span.low), int(span.high)
        return [low, high], [low - 1, high + 1]
    if hint is float:
        span = span or Between(-MAX_NUMBER, MAX_NUMBER)
        return [span.low, span.high], [span.low - abs(span.low) * 0.01 - 1, span.high * 1.01 + 1]
    if hint is str:
        longest = longest or MAX_TEXT_CHARACTERS
        empty = [""] if any(isinstance(mark, NotEmpty) for mark in marks) else []
        is_line = any(isinstance(mark, Printable) for mark in marks)
        lines = ["a\nb", "\x1b[31m", "\u202e", "\x00", "\ud800"] if is_line else []
        return ["x" * longest], ["x" * (longest + 1), *empty, *lines]
    if origin_of(hint) is tuple:
        item = smallest(typing.get_args(hint)[0])
        longest = longest or MAX_LIST_ITEMS
        return [[item] * longest], [[item] * (longest + 1)]
    if origin_of(hint) is dict:
        longest = longest or MAX_MAP_ENTRIES
        return [], [{f"k{n}": "1" for n in range(longest + 1)}]
    return [], []


CASES = [(kind, *field) for kind in MESSAGES for field in fields_of(kind)]


@pytest.mark.parametrize(
    ("kind", "path", "hint", "marks"),
    CASES,
    ids=[f"{case[0].__name__}-{'.'.join(map(str, case[1]))}" for case in CASES],
)
def test_a_field_takes_its_bounds_and_refuses_what_is_beyond_and_absurd(
    kind: Hint, path: Path, hint: Hint, marks: tuple[Any, ...]
) -> None:
    codec: Codec[Any] = Codec(kind)
    tree = smallest(kind)
    codec.from_json(tree)
    within, beyond = at_the_bounds(hint, marks)
    for value in within:
        codec.from_json(replaced(tree, path, value))
    for value in beyond:
        with pytest.raises(WireError) as caught:
            codec.from_json(replaced(tree, path, value))
        assert caught.value.reason in WIRE_ERROR_REASONS
        assert caught.value.path.split("[")[0].split(".")[0] == str(path[0])
    for value in ABSURD:
        with suppress(WireError):
            codec.encode(codec.from_json(replaced(tree, path, value)))


HEADER = {"bootId": "b", "bootNumber": 1, "sequence": 1, "observedSecondsAgo": 0, "site": "s"}


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"observedSecondsAgo": 1e12}, "observedSecondsAgo"),
        ({"observedSecondsAgo": MAX_SECONDS + 1}, "observedSecondsAgo"),
        (
            {"power": {"watts": 1, "origin": "measured", "observedSecondsAgo": 1e12}},
            "power.observedSecondsAgo",
        ),
        (
            {
                "intensity": {
                    "gco2PerKwh": 1,
                    "origin": "yearly",
                    "observedAt": "0001-01-01T00:00:00+14:00",
                }
            },
            "intensity.observedAt",
        ),
        ({"nodeClasses": [{"free": [{"count": 1, "memory": "8Ei"}]}]}, "nodeClasses[0].free[0].'"),
        ({"namespaces": [{"name": "a", "quotaLeft": {"cpu": "x"}}]}, "namespaces[0].quotaLeft.'"),
    ],
)
def test_the_values_that_ended_the_hub_are_refused_by_name(
    fields: dict[str, Any], path: str
) -> None:
    with pytest.raises(WireError) as caught:
        decode_report(json.dumps(HEADER | fields).encode())
    assert caught.value.path.startswith(path)


def test_an_epoch_fits_the_lease_of_the_hub() -> None:
    echo = {"epoch": MAX_EPOCH, "sequence": 1, "digest": "sha256:0"}
    assert SITE_STATUS.from_json(HEADER | {"index": echo}).index is not None
    with pytest.raises(WireError, match="from 0 to"):
        SITE_STATUS.from_json(HEADER | {"index": echo | {"epoch": MAX_EPOCH + 1}})


@settings(max_examples=examples(60), deadline=None)
@given(
    data=st.binary(max_size=200)
    | st.text(max_size=100).map(lambda text: text.encode("utf-8", "replace"))
)
def test_any_bytes_are_a_report_or_a_wire_error(data: bytes) -> None:
    with suppress(WireError):
        REPORT.encode(REPORT.decode(data))
