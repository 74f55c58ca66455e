"""Recorded English is said in Chinese only where it means just that."""

import time

import pytest

from scheduler.model.words.sentence import Message, Sentence
from scheduler.words.catalogue import catalogue_of
from scheduler.words.recognise import Recogniser
from tests.support.catalogues import read

MESSAGES = {
    "placed": "placed on {sites:sites}{more:more}",
    "waits": "; waiting for {sites:list}",
    "age": "the report of {site} is {age:.0f} s old; the limit is {limit:n} s",
    "until": "valid until {until:at|further notice}",
    "says": "{site} says {what}",
    "twice": "{site} before {site} again",
    "only-slots": "{a}: {b}",
}


def known(text: str) -> list[tuple[str, dict[str, object]]]:
    """Slugs and values of a text."""
    return [(one.slug, dict(one.values)) for one in Recogniser(MESSAGES).recognise(text)]


def test_values_are_read_by_their_kind() -> None:
    assert known("the report of m1 is 301 s old; the limit is 300 s") == [
        ("age", {"site": "m1", "age": 301.0, "limit": 300})
    ]
    assert known("valid until further notice") == [("until", {"until": ""})]


def test_a_text_may_be_several_messages_one_after_the_other() -> None:
    assert known("placed on m1 (2), m2 (1) and 3 more; waiting for a, b; waiting for c") == [
        ("placed", {"sites": (("m1", 2), ("m2", 1)), "more": 3}),
        ("waits", {"sites": ("a", "b")}),
        ("waits", {"sites": ("c",)}),
    ]


def test_what_a_text_begins_with_is_said_where_the_rest_is_not_known() -> None:
    words = catalogue_of("zh")
    assert words.say("placed on m1 (2); of a later version") == "放置于 m1（2）; of a later version"
    assert words.say("there are no sites; running replicas stay on m1 (2), m...") == (
        "没有任何站点; running replicas stay on m1 (2), m..."
    )
    assert words.say("of a later version; placed on m1 (2)") == (
        "of a later version; placed on m1 (2)"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "placed",
        "placed on m1 (02)",  # would be said as 2
        "the report of m1 is 3e2 s old; the limit is 300 s",
        "m1 before m2 again",
        "; waiting for a",  # only follows another
        "valid until tomorrow",
        "something else; waiting for a",
    ],
)
def test_a_text_that_would_not_be_the_same_again_stays_as_it_is(text: str) -> None:
    assert known(text) == []


def test_a_sentence_inside_another_is_known_too() -> None:
    [outer] = Recogniser(read("en")["messages"]).recognise("failed at m1: evictions are frozen")
    inner = outer.values["why"]
    assert isinstance(inner, Sentence)
    assert (outer.slug, inner.slug) == ("available.failed-because", "hold.frozen")


def test_a_long_or_hostile_text_takes_no_long_time() -> None:
    started = time.perf_counter()
    for text in ("placed on " + "; waiting for a" * 250, "m1 says " * 500, "a" * 100_000):
        known(text)
    assert time.perf_counter() - started < 2


def test_text_of_users_is_repeated_and_not_read_as_a_message() -> None:
    words = catalogue_of("zh")
    hostile = "m1 is cordoned\x1b[2J"
    said = words.say(Message("cordoned.yes", "{site} is cordoned")(site=hostile))
    assert hostile in said
    assert words.say("no such sentence of ours") == "no such sentence of ours"


def test_english_is_said_as_it_was_recorded() -> None:
    text = "m1 is cordoned"
    assert catalogue_of("en").say(text) == text
    assert catalogue_of("zh").say(text) == "m1 已被封锁，不接收新负载"


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        (
            "2 workloads are left without a place (2 full); 3 replicas move, 0 start, 1 end",
            "有 2 个工作负载无处放置（full 2 个）；3 个副本迁移，0 个启动，1 个终止",
        ),
        (
            "12 replicas fit (cpu 8, memory 1Gi; class general-1)",
            "可放 12 个副本（cpu 8, memory 1Gi；数据级别 general-1）",
        ),
        (
            "placed on m1 (2); for it end 1 of 2 of ns/low at m1 (priority 5)",
            "放置于 m1（2）；为此终止 m1 上 ns/low 的 2 个中的 1 个（优先级 5）",
        ),
        (
            "fits after 2026-11-23T08:00:00Z, when ns/b ends",
            "在 2026-11-23 08:00:00 UTC ns/b 结束之后可以放置",
        ),
    ],
)
def test_answers_about_what_would_be_are_said_too(english: str, chinese: str) -> None:
    assert catalogue_of("zh").say(english) == chinese
