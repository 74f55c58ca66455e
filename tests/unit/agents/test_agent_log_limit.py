"""Log lines of one kind are limited, and what is left out is counted."""

import logging

from agents.runtime.log_limit import AgentLogLimit
from tests.support.fake_clock import FakeClock


def record(text: str, *arguments: object, line: int = 1) -> logging.LogRecord:
    return logging.LogRecord("a.b", logging.WARNING, "file.py", line, text, arguments, None)


async def test_lines_of_one_place_are_limited_whatever_their_words() -> None:
    clock = FakeClock()
    limit = AgentLogLimit(clock)
    written = [limit.filter(record(f"site {number} is odd")) for number in range(10_000)]
    assert sum(written) == 20
    assert limit.filter(record("another place", line=2))
    await clock.advance(5)
    last = record("site %s is odd", "x")
    assert limit.filter(last)
    assert last.getMessage() == (
        "site x is odd (9980 more lines of this kind were left out before)"
    )


def test_a_line_is_bounded() -> None:
    long = record("%s", "x" * 100_000)
    assert AgentLogLimit(FakeClock()).filter(long)
    assert len(long.getMessage()) == 8192


def test_kinds_are_bounded() -> None:
    limit = AgentLogLimit(FakeClock())
    for line in range(5000):
        limit.filter(record("x", line=line))
    assert len(limit) == 1024
