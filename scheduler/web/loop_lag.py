"""How late the event loop is: a loop that is kept busy answers nobody in time."""

from collections.abc import Callable

from scheduler.runtime.clock import Clock

_LOOK_SECONDS = 0.25


async def watch_lag(clock: Clock, observe: Callable[[float], None]) -> None:
    """Tells how much later than asked it was woken; runs until cancelled."""
    while True:
        due = clock.monotonic() + _LOOK_SECONDS
        await clock.sleep(_LOOK_SECONDS)
        observe(max(0.0, clock.monotonic() - due))
