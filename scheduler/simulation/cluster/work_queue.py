"""A work queue of keys, as in client-go: each key is queued at most once, now or after a delay."""

import asyncio
import heapq
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

from scheduler.runtime.clock import Clock

_Key = TypeVar("_Key", bound=Hashable)


class MemberWorkQueue(Generic[_Key]):
    """Keys with due times, for several workers of one event loop.

    No key is processed by two workers at once: a key that is added while a worker has it is queued
    again afterwards. One timer runs for the next due key, so delayed keys cost nothing.

    Args:
        clock: measures delays.
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
        """Queues a key; of several requests for a key the earliest counts."""
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
        """Waits for the next key; the worker must call `done` with it afterwards."""
        while not self._ready:
            self._wake_workers.clear()
            await self._wake_workers.wait()
        key = self._ready.popleft()
        self._waiting.discard(key)
        self._processing.add(key)
        return key

    def done(self, key: _Key) -> None:
        """Marks a key as processed; queues it again if it was added meanwhile."""
        self._processing.discard(key)
        if key in self._dirty:
            self._dirty.discard(key)
            self._add_now(key)

    async def run_timer(self) -> None:
        """Queues delayed keys when they are due; runs until cancelled."""
        while True:
            self._wake_timer.clear()
            now = self._clock.monotonic()
            while self._delayed and self._delayed[0][0] <= now:
                due, _, key = heapq.heappop(self._delayed)
                if self._due_at_seconds.get(key) == due:  # else an earlier request replaced it
                    self._add_now(key)
            if not self._delayed:
                await self._wake_timer.wait()
            else:
                await self._sleep_until_woken(self._delayed[0][0] - now)

    async def _sleep_until_woken(self, seconds: float) -> None:
        """Sleeps for `seconds`, or until a key with an earlier due time is added."""
        async with asyncio.TaskGroup() as group:
            sleep = group.create_task(self._clock.sleep(seconds))
            woken = group.create_task(self._wake_timer.wait())
            await asyncio.wait([sleep, woken], return_when=asyncio.FIRST_COMPLETED)
            sleep.cancel()
            woken.cancel()
