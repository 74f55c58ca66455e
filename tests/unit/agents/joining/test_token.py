"""Tokens as technicians type and paste them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.protocol.joining.token import PREFIX, JoinToken, TokenError, parse_token
from tests.support.counts import examples

TOKEN = JoinToken(
    host="10.20.30.40", port=8884, site="gz-edge", secret=b"s" * 16, fingerprint=b"f" * 16
)


def test_a_token_is_read_as_it_was_printed() -> None:
    text = str(TOKEN)
    assert text.isalnum()
    assert parse_token(text) == TOKEN
    assert "ssss" not in repr(TOKEN)


def test_spaces_capitals_and_full_width_letters_of_an_input_method_are_taken() -> None:
    text = str(TOKEN)
    wide = "".join(chr(ord(each) + 0xFEE0) for each in text)
    broken = "\n ".join((text[:40], text[40:80].upper(), text[80:]))
    assert parse_token(wide) == parse_token(broken) == TOKEN


@pytest.mark.parametrize("text", ["", "hello", PREFIX, PREFIX + "!", PREFIX + "a" * 5000, "木棉"])
def test_what_is_no_token_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(TokenError):
        parse_token(text)


@settings(max_examples=examples(50), deadline=None)
@given(at=st.integers(min_value=len(PREFIX), max_value=200), other=st.sampled_from("abc234"))
def test_one_wrong_letter_is_noticed(at: int, other: str) -> None:
    text = str(TOKEN)
    at = min(at, len(text) - 2)
    changed = text[:at] + other + text[at + 1 :]
    if changed == text:
        return
    with pytest.raises(TokenError):
        parse_token(changed)


@settings(max_examples=examples(30), deadline=None)
@given(st.text(max_size=300))
def test_no_text_makes_it_fail_otherwise(text: str) -> None:
    for each in (text, PREFIX + text):
        try:
            parse_token(each)
        except TokenError:
            continue
