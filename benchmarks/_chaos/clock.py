"""Time that passes only when the world says so; a sleep on it takes no real time."""

import asyncio
import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import cast

START = datetime(2026, 11, 24, 0, 0, 0, tzinfo=UTC)
_MAX_ROUNDS = 100_000


class IdleLoop(asyncio.SelectorEventLoop):
    """An event loop that says whether anything is left to run now."""

    def has_ready(self) -> bool:
        """Whether a callback waits to be run, beside the one that asks."""
        ready: object = self._ready  # type: ignore[attr-defined]  # asyncio offers no other way
        return bool(ready)


class StoryEndedError(Exception):
    """No real time is left for the rest of the story."""


class ChaosClock:
    """Implements `scheduler.runtime.clock.Clock`.

    Attributes:
        jump_seconds: how far the wall clock is off; the monotonic clock never jumps.
        right_from_seconds: since when it is right again.
        is_late: whether no real time is left; asked after each round of the event loop, because one
            simulated second may hold thousands of decisions.
    """

    def __init__(self) -> None:
        self.is_late: Callable[[], bool] = lambda: False
        self.jump_seconds = self.right_from_seconds = 0.0
        self._seconds = 0.0
        self._ticket = 0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """The wall clock of the scheduler's machine, which may be wrong."""
        return START + timedelta(seconds=self._seconds + self.jump_seconds)

    def monotonic(self) -> float:
        """Seconds since the start of the story."""
        return self._seconds

    async def sleep(self, seconds: float) -> None:
        """Waits until the world has come so far."""
        if seconds <= 0:
            await asyncio.sleep(0)  # noqa: TID251 - gives way, waits for nothing
            return
        self._ticket += 1
        waiting = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._seconds + seconds, self._ticket, waiting))
        await waiting

    async def advance_to(self, seconds: float) -> None:
        """Lets time pass, and wakes each sleeper at its own time."""
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= seconds:
            due, _, waiting = heapq.heappop(self._sleepers)
            if waiting.done():
                continue
            self._seconds = max(self._seconds, due)
            waiting.set_result(None)
            # Those of the same instant wake together.
            if not self._sleepers or self._sleepers[0][0] > self._seconds:
                await self.settle()
        self._seconds = max(self._seconds, seconds)
        await self.settle()

    async def settle(self) -> None:
        """Lets all tasks run until each of them waits.

        Raises:
            RuntimeError: they never do.
            StoryEndedError: no real time is left.
        """
        loop = cast(IdleLoop, asyncio.get_running_loop())
        for _ in range(_MAX_ROUNDS):
            await asyncio.sleep(0)  # noqa: TID251 - gives way, waits for nothing
            if not loop.has_ready():
                return
            if self.is_late():
                raise StoryEndedError
        raise RuntimeError("the tasks of the scheduler never come to rest")
