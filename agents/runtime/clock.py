"""Time as an input: the only module of the agent that reads a clock or sleeps.

Loops take an `AgentClock`, so that tests move time by hand and never really sleep. This is a copy
of the scheduler's `Clock` on purpose: the two programs share the wire protocol and nothing else.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class AgentClock(Protocol):
    """The operations on time that a loop may use."""

    def now(self) -> datetime:
        """The wall clock: aware, UTC. For records and people, never for measuring ages."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Waits without blocking the event loop."""
        ...


class AgentSystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The wall clock: aware, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Waits without blocking the event loop."""
        await asyncio.sleep(seconds)
