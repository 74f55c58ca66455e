"""Something that is made of a snapshot: on another thread, once at a time, at most once a while."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from scheduler.runtime.clock import Clock
from scheduler.web.snapshot import StateSnapshot

T = TypeVar("T")


class CachedRender(Generic[T]):
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
        take_snapshot: Callable[[], StateSnapshot],
        render: Callable[[StateSnapshot], T],
        max_age_seconds: float,
    ) -> None:
        self._clock, self._take_snapshot, self._render, self._max_age_seconds = (
            clock,
            take_snapshot,
            render,
            max_age_seconds,
        )
        self._lock = asyncio.Lock()
        self._cached: tuple[float, T] | None = None

    async def get(self) -> T:
        """The value, made anew if it is too old."""
        async with self._lock:
            now = self._clock.monotonic()
            if self._cached is None or now - self._cached[0] >= self._max_age_seconds:
                self._cached = (now, await asyncio.to_thread(self._render, self._take_snapshot()))
            return self._cached[1]
