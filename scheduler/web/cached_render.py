"""Something that is made of a snapshot: on another thread, once at a time, at most once a while."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from scheduler.runtime.clock import Clock
from scheduler.web.snapshot import Snapshot

T = TypeVar("T")


class Fresh(Generic[T]):
    """Shared by everybody who asks within a stated time.

    Args:
        clock: for its age.
        look: takes the snapshot; called on the event loop, where state lives.
        make: makes the value of it; called on another thread.
        seconds: how old the value may be.
    """

    def __init__(
        self,
        clock: Clock,
        look: Callable[[], Snapshot],
        make: Callable[[Snapshot], T],
        seconds: float,
    ) -> None:
        self._clock, self._look, self._make, self._seconds = clock, look, make, seconds
        self._lock = asyncio.Lock()
        self._made: tuple[float, T] | None = None

    async def get(self) -> T:
        """The value, made anew if it is too old."""
        async with self._lock:
            now = self._clock.monotonic()
            if self._made is None or now - self._made[0] >= self._seconds:
                self._made = (now, await asyncio.to_thread(self._make, self._look()))
            return self._made[1]
