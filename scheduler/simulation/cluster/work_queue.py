"""Keys that wait to be looked at: each at most once, now or later, never in two hands."""

import asyncio
import heapq
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

from scheduler.runtime.clock import Clock

_Key = TypeVar("_Key", bound=Hashable)


class MemberWorkQueue(Generic[_Key]):
    """A set of keys with due times, for several workers of one event loop.

    A key that is added while someone works on it comes again afterwards. Waiting costs nothing: one
    timer runs for the next due key.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ready: deque[_Key] = deque()
        self._waiting: set[_Key] = set()
        self._processing: set[_Key] = set()
        self._dirty: set[_Key] = set()
        self._delayed: list[tuple[float, int, _Key]] = []
        self._due_at_seconds: dict[_Key, float] = {}
        self._sequence = 0
        self._wake_workers = asyncio.Event()
        self._wake_timer = asyncio.Event()

    def add(self, key: _Key, after_seconds: float = 0.0) -> None:
        """Asks for a look at `key`; the earliest request counts."""
        if after_seconds <= 0:
            self._add_now(key)
            return
        due = self._clock.monotonic() + after_seconds
        if key in self._waiting or self._due_at_seconds.get(key, due + 1) <= due:
            return
        self._due_at_seconds[key] = due
        self._sequence += 1
        heapq.heappush(self._delayed, (due, self._sequence, key))
        if self._delayed[0][2] == key:
            self._wake_timer.set()

    def _add_now(self, key: _Key) -> None:
        self._due_at_seconds.pop(key, None)
        if key in self._processing:
            self._dirty.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.append(key)
            self._wake_workers.set()

    async def take(self) -> _Key:
        """The next key; it must be given back with `done`."""
        while not self._ready:
            self._wake_workers.clear()
            await self._wake_workers.wait()
        key = self._ready.popleft()
        self._waiting.discard(key)
        self._processing.add(key)
        return key

    def done(self, key: _Key) -> None:
        """Gives a key back; if it was added meanwhile, it is due again."""
        self._processing.discard(key)
        if key in self._dirty:
            self._dirty.discard(key)
            self._add_now(key)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is due now."""
        return not self._ready and not self._processing

    async def run_timer(self) -> None:
        """Moves keys to the front when they are due; for ever."""
        while True:
            self._wake_timer.clear()
            now = self._clock.monotonic()
            while self._delayed and self._delayed[0][0] <= now:
                due, _, key = heapq.heappop(self._delayed)
                if self._due_at_seconds.get(key) == due:
                    self._add_now(key)
            if not self._delayed:
                await self._wake_timer.wait()
            else:
                await self._sleep_until_woken(self._delayed[0][0] - now)

    async def _sleep_until_woken(self, seconds: float) -> None:
        """Sleeps `seconds`, or until an earlier key comes."""
        async with asyncio.TaskGroup() as group:
            sleep = group.create_task(self._clock.sleep(seconds))
            woken = group.create_task(self._wake_timer.wait())
            await asyncio.wait([sleep, woken], return_when=asyncio.FIRST_COMPLETED)
            sleep.cancel()
            woken.cancel()
