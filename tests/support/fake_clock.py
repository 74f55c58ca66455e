"""A clock that tests move by hand; nobody who sleeps on it really sleeps."""

import asyncio
import heapq
from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 24, 8, 0, 0, tzinfo=UTC)


class FakeClock:
    """Implements `scheduler.runtime.clock.Clock` and `agents.runtime.clock.Clock`."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []
        self._ticket = 0

    def now(self) -> datetime:
        """The start plus what was advanced."""
        return START + timedelta(seconds=self._seconds)

    def monotonic(self) -> float:
        """What was advanced."""
        return self._seconds

    async def sleep(self, seconds: float) -> None:
        """Waits until the clock was advanced so far."""
        if seconds <= 0:
            await asyncio.sleep(0)  # noqa: TID251 - gives way, waits for nothing
            return
        self._ticket += 1
        event = asyncio.Event()
        heapq.heappush(self._sleepers, (self._seconds + seconds, self._ticket, event))
        await event.wait()

    async def advance(self, seconds: float) -> None:
        """Moves on, waking sleepers one after the other at their own time."""
        target = self._seconds + seconds
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= target:
            due, _, event = heapq.heappop(self._sleepers)
            self._seconds = max(self._seconds, due)
            event.set()
            await self.settle()
        self._seconds = target
        await self.settle()

    async def settle(self) -> None:
        """Lets every task that can run do so."""
        for _ in range(20):
            await asyncio.sleep(0)  # noqa: TID251 - gives way, waits for nothing
