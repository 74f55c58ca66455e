"""The codec's promises: what is written is read back, and garbage is only ever a `WireError`."""

import contextlib
import dataclasses
import json
from typing import Annotated, Any, Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agents.protocol.bounds import AtMost, Between, RemainingKeys
from agents.protocol.codec import Codec
from agents.protocol.diagnosis.answer import ANSWER, OrderAnswer
from agents.protocol.envelope import Envelope
from agents.protocol.errors import WIRE_ERROR_REASONS, WireError
from agents.protocol.hub_requests import HUB_REQUEST, HubRequest
from agents.protocol.index import DESIRED_INDEX, DesiredIndex
from agents.protocol.index_delta import INDEX_DELTA, IndexDelta
from agents.protocol.orders import ORDER_CONTENT, OrderContent
from agents.protocol.report import OFFLINE, REPORT, REPORT_DELTA, Offline, Report, ReportDelta
from agents.protocol.shapes import Json, to_camel_case
from agents.protocol.status import SITE_STATUS, SiteStatusMessage
from tests.support.counts import examples
from tests.support.wire_examples import json_trees, messages

Kind = Any
CODECS: dict[Any, Codec[Any]] = {
    Report: REPORT,
    ReportDelta: REPORT_DELTA,
    Offline: OFFLINE,
    DesiredIndex: DESIRED_INDEX,
    IndexDelta: INDEX_DELTA,
    OrderContent: ORDER_CONTENT,
    SiteStatusMessage: SITE_STATUS,
    HubRequest: HUB_REQUEST,
    OrderAnswer: ANSWER,
    Envelope: Codec(Envelope),
}
EVERY_TYPE = pytest.mark.parametrize("kind", list(CODECS), ids=lambda kind: kind.__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inner:
    count: Annotated[int, Between(1, 9)]
    rest: Annotated[dict[str, str | int], RemainingKeys()] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    name: Annotated[str, AtMost(5)]
    ratio: float | None = None
    is_on: bool = False
    word: Literal["a", "b"] = "a"
    inner_rows: Annotated[tuple[Inner, ...], AtMost(2)] = ()
    tree: Json | None = None


SAMPLE = Codec(Sample)


def reading(**fields: object) -> Sample:
    return SAMPLE.from_json({"name": "x", **fields})


@EVERY_TYPE
@settings(max_examples=examples(30), deadline=None)
@given(data=st.data())
def test_what_is_written_is_read_back(kind: Kind, data: st.DataObject) -> None:
    value = data.draw(messages(kind))
    codec = CODECS[kind]
    assert codec.decode(codec.encode(value)) == value
    assert codec.encode(codec.decode(codec.encode(value))) == codec.encode(value)


@EVERY_TYPE
@settings(max_examples=examples(30), deadline=None)
@given(data=st.data())
def test_a_reader_ignores_fields_of_a_later_version(kind: Kind, data: st.DataObject) -> None:
    value = data.draw(messages(kind))
    codec = CODECS[kind]
    tree = codec.to_json(value) | {"ofALaterVersion": {"deep": [1]}}
    assert codec.from_json(tree) == value


@EVERY_TYPE
@settings(max_examples=examples(30), deadline=None)
@given(garbage=st.binary(max_size=80))
@example(garbage=b"")
@example(garbage=b"\xff\xfe")
@example(garbage=b"[" * 200_000)
@example(garbage=b'{"a":' * 100_000)
@example(garbage=b'{"site":' + b"9" * 5_000 + b"}")
@example(garbage=b'{"site":1e999}')
@example(garbage=b'{"site":NaN}')
@example(garbage=b'{"site":"\\ud800"}')
def test_garbage_is_only_ever_a_wire_error(kind: Kind, garbage: bytes) -> None:
    with pytest.raises(WireError) as caught:
        CODECS[kind].decode(garbage)
    assert caught.value.reason in WIRE_ERROR_REASONS


@EVERY_TYPE
@settings(max_examples=examples(30), deadline=None)
@given(data=st.data(), tree=json_trees())
def test_a_wrong_value_anywhere_is_only_ever_a_wire_error(
    kind: Kind, data: st.DataObject, tree: Json
) -> None:
    codec = CODECS[kind]
    good = codec.to_json(data.draw(messages(kind)))
    key = data.draw(st.sampled_from(sorted(good)))
    text = json.dumps(good | {key: tree}).encode(errors="surrogatepass")
    with contextlib.suppress(WireError):
        codec.encode(codec.decode(text))


@settings(max_examples=examples(30), deadline=None)
@given(cut=st.integers(min_value=0, max_value=400), data=st.data())
def test_a_message_cut_short_is_refused(cut: int, data: st.DataObject) -> None:
    text = REPORT.encode(data.draw(messages(Report)))
    with pytest.raises(WireError):
        REPORT.decode(text[: min(cut, len(text) - 1)])


@pytest.mark.parametrize(
    ("fields", "where", "words"),
    [
        ({"name": 3}, "name", "expected text, found a number"),
        ({"name": "123456"}, "name", "6 characters; at most 5"),
        ({"ratio": "1"}, "ratio", "expected a finite number, found text"),
        ({"ratio": True}, "ratio", "expected a finite number, found true or false"),
        ({"ratio": 10**30}, "ratio", "expected a finite number"),
        ({"isOn": 1}, "isOn", "expected true or false, found a number"),
        ({"word": "c"}, "word", "expected one of a, b"),
        ({"word": []}, "word", "expected one of a, b"),
        ({"innerRows": {}}, "innerRows", "expected a list, found an object"),
        ({"innerRows": [{"count": 1}] * 3}, "innerRows", "3 items; at most 2"),
        ({"innerRows": [{"count": 1}, {}]}, "innerRows[1].count", "is required"),
        ({"innerRows": [{"count": 0}]}, "innerRows[0].count", "a number from 1 to 9"),
        ({"innerRows": [{"count": 1, "cpu": 0.5}]}, "innerRows[0].'cpu'", "expected text or a num"),
        ({"innerRows": [{"count": True}]}, "innerRows[0].count", "expected a whole number"),
    ],
)
def test_an_error_says_where_and_what(fields: dict[str, Any], where: str, words: str) -> None:
    with pytest.raises(WireError) as caught:
        reading(**fields)
    assert caught.value.path == where
    assert str(caught.value).startswith(f"{where}: ")
    assert words in caught.value.detail


def test_null_counts_as_absent() -> None:
    assert reading(ratio=None, innerRows=None) == Sample(name="x")


def test_absent_fields_are_not_written() -> None:
    assert "ratio" not in SAMPLE.to_json(Sample(name="x"))


def test_keys_of_a_rest_field_stand_beside_the_others() -> None:
    row = Inner(count=2, rest={"cpu": "7", "pods": 60})
    sample = Sample(name="x", inner_rows=(row,))
    assert SAMPLE.to_json(sample)["innerRows"] == [{"count": 2, "cpu": "7", "pods": 60}]
    assert SAMPLE.decode(SAMPLE.encode(sample)) == sample


@pytest.mark.parametrize("depth", [64, 65, 500, 100_000])
def test_free_json_is_bounded_in_depth(depth: int) -> None:
    text = b'{"name":"x","tree":' + b"[" * depth + b"]" * depth + b"}"
    if depth <= 64:
        SAMPLE.decode(text)
        return
    with pytest.raises(WireError) as caught:
        SAMPLE.decode(text)
    assert caught.value.reason == "too-deep"


def test_a_message_beyond_the_bound_is_not_even_parsed() -> None:
    small = Codec(Sample, max_bytes=100)
    with pytest.raises(WireError) as caught:
        small.decode(b"[" * 101)
    assert caught.value.reason == "too-large"
    with pytest.raises(WireError):
        small.encode(Sample(name="x", tree=["y" * 100]))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_json_lacks_are_not_written(number: float) -> None:
    with pytest.raises(WireError):
        SAMPLE.encode(Sample(name="x", ratio=number))


def test_names_become_camel_case() -> None:
    assert to_camel_case("gco2_per_kwh") == "gco2PerKwh"
    assert to_camel_case("observed_seconds_ago") == "observedSecondsAgo"
