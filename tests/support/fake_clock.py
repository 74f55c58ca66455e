"""A clock that tests advance by hand; sleeping on it takes no real time."""

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
        """The start time plus the time advanced."""
        return START + timedelta(seconds=self._seconds)

    def monotonic(self) -> float:
        """Seconds advanced since the start."""
        return self._seconds

    async def sleep(self, seconds: float) -> None:
        """Waits until the clock has been advanced by `seconds`."""
        if seconds <= 0:
            await asyncio.sleep(0)  # noqa: TID251 - gives way, waits for nothing
            return
        self._ticket += 1
        event = asyncio.Event()
        heapq.heappush(self._sleepers, (self._seconds + seconds, self._ticket, event))
        await event.wait()

    async def advance(self, seconds: float) -> None:
        """Advances the clock, and wakes each sleeper at its own time."""
        target = self._seconds + seconds
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= target:
            due, _, event = heapq.heappop(self._sleepers)
            self._seconds = max(self._seconds, due)
            event.set()
            await self.settle()
        self._seconds = target
        await self.settle()

    def stand_still(self, seconds: float) -> None:
        """Time passes in which nothing runs, as when the process is paused."""
        self._seconds += seconds

    async def settle(self) -> None:
        """Lets all tasks run until they wait."""
        for _ in range(20):
            await asyncio.sleep(0)  # noqa: TID251 - gives way, waits for nothing
