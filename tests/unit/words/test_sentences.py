"""A sentence is the English text, and keeps what it says as values."""

import json
import pickle
from datetime import UTC, datetime, timedelta, timezone

import pytest

from scheduler.model.canonical import canonical_json
from scheduler.model.words.phrases import Phrases, Value, fill
from scheduler.model.words.sentence import Message, Sentence, joined, json_of

AT = datetime(2026, 11, 23, 8, 0, 0, 250000, tzinfo=UTC)
CHINESE = Phrases(
    list="、",
    or_=" 或 ",
    more=" 等，另有 {count} 个",
    pair="{name}（{count}）",
    unknown="未知",
    instant="%Y-%m-%d %H:%M:%S UTC",
)
ROOM = Message("fit", "{site} takes {room:n} more{why:parts}")
WHY = Message("why", "; {age:.0f} s old")


@pytest.mark.parametrize(
    ("template", "value", "english", "chinese"),
    [
        ("{x}", "m1", "m1", "m1"),
        ("{x}", None, "unknown", "未知"),
        ("{x|none}", "", "none", "none"),
        ("{x:n}", 0, "0", "0"),
        ("{x:.0f}", 12.6, "13", "13"),
        ("{x:.4f}", None, "unknown", "未知"),
        ("{x:g}", 1.5, "1.5", "1.5"),
        ("{x:list|no nodes}", (), "no nodes", "no nodes"),
        ("{x:list|no nodes}", ("a", None), "a, unknown", "a、未知"),
        ("{x:list|nowhere}", ("", "b"), "nowhere, b", "nowhere、b"),
        ("{x:or}", ("a", "b"), "a or b", "a 或 b"),
        ("all{x:more}", 0, "all", "all"),
        ("all{x:more}", 3, "all and 3 more", "all 等，另有 3 个"),
        ("{x:sites}", (("m1", 2), ("m2", None)), "m1 (2), m2 (unknown)", "m1（2）、m2（未知）"),
        ("{x:at}", AT, "2026-11-23T08:00:00Z", "2026-11-23 08:00:00 UTC"),
        ("{x:exact}", AT, "2026-11-23T08:00:00.250000Z", "2026-11-23 08:00:00 UTC"),
        ("{x:iso}", AT, "2026-11-23T08:00:00.250000+00:00", "2026-11-23 08:00:00 UTC"),
        ("{x:at|further notice}", None, "further notice", "further notice"),
    ],
)
def test_each_kind_of_value_is_written_as_the_language_writes_it(
    template: str, value: Value, english: str, chinese: str
) -> None:
    assert fill(template, {"x": value}) == english
    assert fill(template, {"x": value}, CHINESE) == chinese


def test_a_value_that_is_missing_is_unknown() -> None:
    assert fill("{site} is cordoned", {}) == "unknown is cordoned"
    assert fill("{site} is cordoned", {}, CHINESE) == "未知 is cordoned"


def test_an_instant_of_another_zone_is_shown_in_utc() -> None:
    there = AT.astimezone(timezone(timedelta(hours=8)))
    assert fill("{x:at}", {"x": there}, CHINESE) == "2026-11-23 08:00:00 UTC"


def test_an_amount_is_written_in_the_unit_of_its_resource() -> None:
    template = "{left:amount(resource)} of {resource}"
    assert fill(template, {"left": 1500, "resource": "cpu"}) == "1500m of cpu"
    assert fill(template, {"left": 2**31, "resource": "memory"}) == "2Gi of memory"


def test_a_sentence_is_its_text_with_slug_and_values() -> None:
    sentence = ROOM(site="m1", room=2, why=(WHY(age=301.4),))
    assert sentence == "m1 takes 2 more; 301 s old"
    assert type(str(sentence)) is str
    assert json_of(sentence) == {
        "message": "fit",
        "values": {
            "site": "m1",
            "room": 2,
            "why": [{"sentence": "; 301 s old", "message": "why", "values": {"age": 301.4}}],
        },
    }
    assert json_of("as it was written") == {"message": "", "values": {}}


def test_values_are_json_also_where_they_are_unknown_or_instants() -> None:
    values = json_of(Message("m", "{a} {b} {c:list}")(a=float("nan"), b=AT, c=("x", None)))
    assert json.loads(json.dumps(values, allow_nan=False))["values"] == {
        "a": None,
        "b": "2026-11-23T08:00:00.250000Z",
        "c": ["x", None],
    }


def test_records_hold_the_text_alone() -> None:
    sentence = joined(ROOM(site="m1", room=2, why=()), "", "; more")
    assert canonical_json([sentence]) == b'["m1 takes 2 more; more"]'


def test_a_sentence_keeps_its_values_in_another_process() -> None:
    copy = pickle.loads(pickle.dumps(ROOM(site="m1", room=2, why=())))  # noqa: S301 - our own
    assert isinstance(copy, Sentence)
    assert (copy, copy.slug, copy.values["room"]) == ("m1 takes 2 more", "fit", 2)


def test_text_in_values_is_no_template() -> None:
    assert ROOM(site="{room} {site:list}", room=1, why=()) == "{room} {site:list} takes 1 more"
