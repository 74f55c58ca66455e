"""No text from elsewhere moves the cursor, forges a row or reverses what is read."""

import json
import unicodedata

import pytest

from scheduler.cli.support.output import format_table, print_error, print_json, print_text
from scheduler.runtime.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "预约系统　gz-core: 4/4 ready 👩‍💻",
            "预约系统　gz-core: 4/4 ready 👩‍💻",
        ),
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("a\rb\nc\td\x7f\x9b", r"a\rb\nc\td\x7f\x9b"),
        ("user\u202enimda\u2066", r"user\u202enimda\u2066"),
        ("a\u2028b\u200bc\ufeffd\u061c", r"a\u2028b\u200bc\ufeffd\u061c"),
        ("\U000e0041\ud800", r"\U000e0041\ud800"),
    ],
)
def test_hidden_characters_are_shown_and_visible_ones_stay(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_every_control_and_format_character_is_escaped() -> None:
    hidden = [
        one
        for one in map(chr, range(0x110000))
        if unicodedata.category(one) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and one not in "\u200c\u200d"
    ]
    assert not [one for one in hidden if printable(one).isprintable() is False]
    assert len(hidden) > 2000


def test_a_forged_row_stays_in_its_cell() -> None:
    rows = [("NAME", "REASON"), ("a", "x\nb   all is well\x1b[1A")]
    lines = format_table(rows)
    assert lines == ["NAME   REASON\n", "a      x\\nb   all is well\\x1b[1A\n"]


def test_json_keeps_its_meaning_and_hides_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"line": "a\u202eb\x9b预约\n\U000e0041"}
    print_json(value)
    out = capsys.readouterr().out
    assert json.loads(out) == value
    assert out == '{"line": "a\\u202eb\\u009b预约\\n\\udb40\\udc41"}\n'


def test_an_error_of_several_lines_is_indented(capsys: pytest.CaptureFixture[str]) -> None:
    print_error("get", "no hub\nkapok get: fine\x1b[1A")
    assert capsys.readouterr().err == "kapok get: no hub\n  kapok get: fine\\x1b[1A\n"


def test_text_of_ours_keeps_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    print_text("one\ntwo\x07")
    assert capsys.readouterr().out == "one\ntwo\\x07\n"
