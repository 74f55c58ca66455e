"""Time as an input: the only place of the scheduler that reads a clock or sleeps.

Loops take a `AgentClock`, so that tests can move time by hand and never really sleep. Decisions
take `now` as a plain argument and know nothing of this module.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What a loop may ask of time."""

    def now(self) -> datetime:
        """The wall clock: aware, UTC. For records and for humans, never for measuring ages."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow; the start is arbitrary."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Waits without blocking the event loop."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The wall clock: aware, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Waits `seconds`; other tasks go on."""
        await asyncio.sleep(seconds)


def yield_thread() -> None:
    """Lets other threads run; what computes beside the event loop calls it often."""
    time.sleep(0)
