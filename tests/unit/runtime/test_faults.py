"""Faults at an edge: counted, logged once per kind, the cause set aside, memory bounded."""

import asyncio
import logging

import pytest

from tests.support.fake_clock import FakeClock
from tests.support.faults import make_faults


@pytest.mark.parametrize(
    "fault",
    [
        AttributeError("x"),
        OverflowError("date value out of range"),
        OSError(28, "no space left"),
        RecursionError(),
        MemoryError(),
        ExceptionGroup("several", [KeyError("a"), ValueError("b")]),
    ],
    ids=lambda each: type(each).__name__,
)
def test_any_exception_is_counted_and_ends_nothing(fault: Exception) -> None:
    counted: list[str] = []
    faults = make_faults(counted=counted)
    with faults.barrier("message", "m1"):
        raise fault
    assert counted == ["message"]
    assert not faults.admits("message", "m1")
    assert faults.admits("message", "m2")
    assert faults.admits("object", "m1")


def test_a_cancellation_and_what_is_named_pass() -> None:
    counted: list[str] = []
    faults = make_faults(counted=counted)
    with pytest.raises(asyncio.CancelledError), faults.barrier("message", "m1"):
        raise asyncio.CancelledError
    with pytest.raises(KeyError), faults.barrier("message", "m1", passing=(KeyError,)):
        raise KeyError
    assert counted == []
    assert faults.admits("message", "m1")


async def test_the_pause_doubles_up_to_a_limit_and_a_success_ends_it() -> None:
    clock = FakeClock()
    faults = make_faults(clock)
    pauses = []
    for _ in range(12):
        with faults.barrier("message", "m1"):
            raise KeyError
        pauses.append(faults.pause_seconds("message", "m1"))
    assert pauses[:4] == [1.0, 2.0, 4.0, 8.0]
    assert pauses[-1] == 300.0
    await clock.advance(300.0)
    assert faults.admits("message", "m1")
    with faults.barrier("message", "m1"):
        pass
    with faults.barrier("message", "m1"):
        raise KeyError
    assert faults.pause_seconds("message", "m1") == 1.0


def test_a_kind_is_logged_once_with_little_context(caplog: pytest.LogCaptureFixture) -> None:
    faults = make_faults()
    with caplog.at_level(logging.ERROR):
        for number in range(100):
            with faults.barrier("message", f"m{number}\n" + "x" * 100_000):
                raise ValueError("\x1b[31m" + "y" * 100_000)
    [line] = caplog.messages
    assert len(line) < 3000
    assert "\x1b" not in line


def test_the_memory_for_those_that_are_set_aside_is_bounded() -> None:
    faults = make_faults()
    for number in range(10_000):
        with faults.barrier("object", number):
            raise KeyError
    assert faults.admits("object", 0)
    assert not faults.admits("object", 9999)
    assert sum(not faults.admits("object", number) for number in range(10_000)) == 4096
