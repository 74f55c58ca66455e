"""The annotation with operators' words: anything may stand there."""

import json

import pytest

from scheduler.control.failover.words import (
    MAX_WORDS,
    WORDS_ANNOTATION,
    OperatorWord,
    read_words,
    write_words,
)

WORD = OperatorWord(("ns", "app"), "uid-1", "id-1", "ops")


def read(text: str) -> tuple[OperatorWord, ...]:
    return read_words({WORDS_ANNOTATION: text})


def test_what_is_written_is_read() -> None:
    other = OperatorWord(("ns", "b"), "uid-2", "id-2", "周")
    assert read(write_words([WORD, other])) == (WORD, other)
    later = WORD._replace(id="id-3")
    assert read(write_words([WORD, other, later])) == (other, later)


def test_the_oldest_words_make_room() -> None:
    words = [WORD._replace(key=("ns", f"w{number}")) for number in range(MAX_WORDS + 5)]
    assert read(write_words(words)) == tuple(words[5:])


def test_what_is_written_is_never_too_long_to_be_read() -> None:
    words = [
        OperatorWord(("n" * 63, f"{number:0253}"), "u" * 36, "i" * 32, "周" * 256)
        for number in range(MAX_WORDS)
    ]
    kept = read(write_words(words))
    assert kept
    assert kept == tuple(words[-len(kept) :])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 50_000,
        '{"ns/app": 1}',
        '{"app": {"uid": "u", "id": "1", "by": "x"}}',
        '{"ns/": {"uid": "u", "id": "1", "by": "x"}}',
        '{"ns/app": {"uid": "u", "id": "", "by": "x"}}',
        '{"ns/app": {"id": "1", "by": "x"}}',
        '{"ns/app": {"uid": "u", "id": 1, "by": "x"}}',
        json.dumps({f"ns/{n}": {"uid": "u", "id": "1", "by": "x" * 999} for n in range(999)}),
    ],
)
def test_what_cannot_be_read_is_left_out(text: str) -> None:
    assert read(text) == ()


def test_no_field_is_longer_than_the_status_takes() -> None:
    text = json.dumps({"ns/app": {"uid": "u", "id": "1" * 999, "by": "x" * 999}})
    [word] = read(text)
    assert (len(word.id), len(word.by)) == (64, 256)


def test_text_that_cannot_be_written_again_is_escaped_or_left_out() -> None:
    """JSON names lone surrogates; an answer with one in it is in no UTF-8 and blocks the status."""
    words = read(
        r"""{"ns/app": {"uid": "u", "id": "\u0000\ud800", "by": "\u202eops"},
        "ns/\udfff": {"uid": "u", "id": "1", "by": "x"},
        "ns/b": {"uid": "\ud800", "id": "1", "by": "x"}}"""
    )
    assert words == (OperatorWord(("ns", "app"), "u", r"\x00\ud800", r"\u202eops"),)
    assert read(write_words(words)) == words
    assert write_words(words).encode()
