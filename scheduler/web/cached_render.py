"""A value that is rendered from a snapshot on another thread and shared for a stated time."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from scheduler.runtime.clock import Clock
from scheduler.web.snapshot import StateSnapshot

T = TypeVar("T")


class CachedRender(Generic[T]):
    """Renders at most once at a time, and again only when the value is too old.

    Args:
        clock: the clock for the value's age.
        take_snapshot: takes the snapshot; called on the event loop, which owns the state.
        render: makes the value of a snapshot; called on another thread.
        max_age_seconds: how old a shared value may be.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        take_snapshot: Callable[[], StateSnapshot],
        render: Callable[[StateSnapshot], T],
        max_age_seconds: float,
    ) -> None:
        self._clock = clock
        self._take_snapshot = take_snapshot
        self._render = render
        self._max_age_seconds = max_age_seconds
        self._lock = asyncio.Lock()
        self._cached: tuple[float, T] | None = None

    async def get(self) -> T:
        """The value; rendered first if there is none or it is too old."""
        async with self._lock:
            now = self._clock.monotonic()
            if self._cached is None or now - self._cached[0] >= self._max_age_seconds:
                self._cached = (now, await asyncio.to_thread(self._render, self._take_snapshot()))
            return self._cached[1]
