"""Follows the wall clock when it is set: dates again what is known of the sites, a few at a time.

Ages come from the monotonic clock, and facts carry them as dates, which decisions compare with
their own time. When the wall clock is set, each report would seem older or younger by as much.
Until all sites are dated again, decisions go by the former time, and the workers decide nothing.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from scheduler.control.sites.sites import Sites
from scheduler.runtime.clock import Clock, yield_loop
from scheduler.runtime.faults import Faults

_LOOK_SECONDS = 0.5
_STEP = 100
"""The loop lets others run after so many sites: about 15 ms."""


@dataclass(slots=True, kw_only=True)
class WallClockFollower:
    """Dates the facts of the sites again.

    Attributes:
        sites: what is known of the sites.
        clock: the time.
        faults: handles what fails.
        absorb: called after some sites, with what follows from their new facts.
    """

    sites: Sites
    clock: Clock
    faults: Faults
    absorb: Callable[[], object] = lambda: None
    _is_dated: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def __post_init__(self) -> None:
        if not self.sites.is_dating:
            self._is_dated.set()

    async def run(self) -> None:
        """Looks twice a second; runs until cancelled."""
        while True:
            with self.faults.barrier("wall clock"):
                await self.follow()
            await self.clock.sleep(_LOOK_SECONDS)

    async def follow(self) -> bool:
        """Dates all facts again if the wall clock was set; returns whether it was.

        What is interrupted goes on with the next call: a site that fails is not tried again.
        """
        if not self.sites.begin_dating():
            return False
        self._is_dated.clear()
        while self.sites.date_some(_STEP):
            self.absorb()
            await yield_loop()
        self.absorb()
        self._is_dated.set()
        return True

    async def wait_until_dated(self) -> None:
        """Waits while sites are dated again."""
        await self._is_dated.wait()
