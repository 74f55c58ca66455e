"""Patterns are those of RE2, and none takes long, whatever it is and whatever it is tried on."""

import re
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.hub.schema.patterns import Pattern, PatternError
from scheduler.hub.schema.structural import compile_schema, validate

CATASTROPHIC = [
    (r"^(a+)+$", "a" * 5_000 + "!"),
    (r"^(a|a)*$", "a" * 5_000 + "!"),
    (r"^(a|ab|b)*$", "ab" * 500 + "!"),
    (r"^(a?){25}a{25}$", "a" * 25),
    (r"a?" * 30 + "a" * 30, "a" * 30),
    (r"(.*)(.*)(.*)(.*)(.*)[^b]c$", "ab" * 1_000),
    (r"^((a*)*)*$", "a" * 100 + "!"),
    (r".*.*=.*", "a" * 3_000),
    (r"^([a-z]+.)+[A-Z]$", "abc" * 300),
    (r"^(x?){1000}$", "x" * 500),
    (r"^(\pL|\pN){300}$", "é" * 600),
    (r"^([a-z]{1,30}){1,30}!", "abc" * 200),
    ("[" * 100_000, "a"),
    ("(" * 1_900 + ")" * 100, "a"),
    (r"^(a|b)*a(a|b){12}c$", "ab" * 5_000),
]


@pytest.mark.parametrize(("text", "value"), CATASTROPHIC, ids=range(len(CATASTROPHIC)))
def test_no_pattern_takes_long(text: str, value: str) -> None:
    pattern, begun = Pattern(text), time.process_time()
    with suppress(PatternError):  # refused by name
        pattern.matches(value)
    pattern.problem()
    # Not how fast it is: `re` alone needs years for some and seconds for each of the others.
    assert time.process_time() - begun < 1.0


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (r"(?=a)b", "invalid perl operator"),
        (r"(a)\1", "invalid escape"),
        (r"(a", "missing"),
        (r"(x?){1000}", "at most 500"),
        ("a" * 501, "at most 500"),
        (r"\pL{500}", "at most 500"),
    ],
)
def test_what_go_does_not_know_or_what_is_too_large_is_refused(text: str, word: str) -> None:
    assert word in Pattern(text).problem()


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        (r"^a+$", "aaa", True),
        (r"^a+$", "aaa\n", False),  # as in Go; Python's $ would match
        (r"^\d+$", "٣", False),  # as in Go: ASCII only
        (r"b", "abc", True),
        (r"^(a|b)$", "c", False),
        (r"(?i)^abc$", "ABC", True),
        (r"^\pL+$", "木棉", True),
        (r"^[[:alpha:]]+$", "ab", True),
        (r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", "a-b.c", True),
        (r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", "a-b.c-", False),
    ],
)
def test_a_pattern_matches_as_in_go(text: str, value: str, *, expected: bool) -> None:
    pattern = Pattern(text)
    assert pattern.problem() == ""
    assert pattern.matches(value) is expected


ATOMS = st.sampled_from(["a", "b", "[ab]", "[^a]", ".", "(a|b)", "(ab)", "-", r"\.", "(a+b)"])
PARTS = st.builds(
    lambda atom, times: atom + times,
    ATOMS,
    st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,3}", "{2,}", "*?"]),
)


@given(st.lists(PARTS, min_size=1, max_size=5).map("".join), st.text("ab-.", max_size=12))
def test_both_ways_to_match_agree(text: str, value: str) -> None:
    pattern = Pattern(f"^{text}$")
    assert pattern.problem() == ""
    assert pattern.matches(value) == bool(re.compile(f"^{text}$").search(value))


def test_a_stored_pattern_of_other_syntax_refuses_new_values_and_keeps_old_ones() -> None:
    node = compile_schema({"type": "string", "pattern": "(?=a)a"})
    (problem,) = validate(node, "a", "spec.name")
    assert "does not try" in problem.message
    assert validate(node, "a", "spec.name", old="a", has_old=True) == []


def test_schemas_with_slow_patterns_are_known_so_that_they_are_checked_beside_the_loop() -> None:
    slow = {"type": "string", "pattern": "^([a-z]{1,9}x){1,9}$"}
    plain = {"type": "string", "pattern": "^[a-z]+$"}
    for schema, expected in (
        (slow, True),
        (plain, False),
        ({"type": "array", "items": slow}, True),
        ({"type": "object", "properties": {"a": {"type": "string", "anyOf": [slow]}}}, True),
        ({"type": "object", "properties": {"a": plain}}, False),
    ):
        assert compile_schema(schema).has_slow_patterns is expected
