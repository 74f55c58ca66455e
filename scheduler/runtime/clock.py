"""Time as an input: the only module of the scheduler that reads a clock or sleeps.

Control loops take a `Clock`, so that tests can set the time and never really sleep. Decisions take
`now` as a plain argument and do not use this module.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol

_MONOTONIC: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """What control loops need of a clock."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC; for records and people, not for measuring ages."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Waits `seconds` without blocking the event loop."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back.

        On Linux the time in which the machine was suspended counts: figures age in it.
        """
        return time.clock_gettime(_MONOTONIC)

    async def sleep(self, seconds: float) -> None:
        """Waits `seconds` without blocking the event loop."""
        await asyncio.sleep(seconds)


def yield_thread() -> None:
    """Lets other threads run; computations outside the event loop call it often."""
    time.sleep(0)


async def yield_loop() -> None:
    """Lets the other tasks of the event loop run; long computations on it call it often."""
    await asyncio.sleep(0)
