"""Log lines as JSON: one object a line, whatever a line is about and whatever it holds."""

import json
import logging
import sys

import pytest

from scheduler.runtime.log_format import ID_FIELDS, JsonLineFormatter, TextLineFormatter


def _line(message: str, *args: object, **extra: object) -> str:
    record = logging.LogRecord("scheduler.x", logging.INFO, "x.py", 1, message, args, None)
    record.__dict__.update(extra)
    record.created = 1_764_000_000.25
    return JsonLineFormatter().format(record)


def test_a_line_has_time_level_logger_and_message() -> None:
    assert json.loads(_line("site %s is silent", "m1")) == {
        "time": "2025-11-24T16:00:00.250Z",
        "level": "INFO",
        "logger": "scheduler.x",
        "message": "site m1 is silent",
    }


def test_ids_are_fields_and_unknown_ones_are_left_out() -> None:
    ids = {"decision": "7-42", "order": "k/a/b/c", "site": "m1", "grant": "g", "workload": "a/b"}
    assert set(ids) == set(ID_FIELDS)
    fields = json.loads(_line("x", **ids))
    assert {name: fields[name] for name in ids} == ids
    assert "site" not in json.loads(_line("x", site="", decision=None))


@pytest.mark.parametrize(
    "text", ["a\nb\r", '"}\n{"level":"ERROR"}', "\u2028\u202e\x1b[31m", "预约 😀", "\ud800"]
)
def test_no_text_breaks_a_line_or_is_lost(text: str) -> None:
    line = _line("%s", text)
    assert line.isprintable()
    assert json.loads(line)["message"] == text


def test_a_logged_error_is_a_field_with_its_traceback() -> None:
    record = logging.makeLogRecord({})
    try:
        int("no\nsuch thing")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "failed", (), sys.exc_info())
    fields = json.loads(JsonLineFormatter().format(record))
    assert fields["message"] == "failed"
    assert fields["error"].startswith("Traceback")
    assert "invalid literal for int()" in fields["error"]


def test_a_text_line_shows_hidden_characters_and_stays_one_line() -> None:
    record = logging.LogRecord("a", logging.INFO, "a.py", 1, "%s is back", ("m1\n\x1b[2Jok",), None)
    line = TextLineFormatter().format(record)
    assert line.endswith(r"INFO a: m1\n\x1b[2Jok is back")
    assert "\n" not in line
