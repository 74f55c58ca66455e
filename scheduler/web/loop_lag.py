"""How late the event loop is: a loop that is kept busy answers nobody in time."""

from collections.abc import Callable

from scheduler.runtime.clock import Clock

_SAMPLE_INTERVAL_SECONDS = 0.25


async def watch_loop_lag(clock: Clock, observe: Callable[[float], None]) -> None:
    """Tells how much later than asked it was woken; runs until cancelled."""
    while True:
        wake_at = clock.monotonic() + _SAMPLE_INTERVAL_SECONDS
        await clock.sleep(_SAMPLE_INTERVAL_SECONDS)
        observe(max(0.0, clock.monotonic() - wake_at))
