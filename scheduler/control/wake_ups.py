"""Wakes waiting workloads after events that could help them, a burst of events at once."""

import asyncio
from dataclasses import dataclass, field

from scheduler.control.preemption.active import Preemptions
from scheduler.control.queue.requeue import Requeuer
from scheduler.control.queue.reservations import Reservations
from scheduler.control.queue.work_queue import SchedulingQueue
from scheduler.control.sites.sites import Sites
from scheduler.control.state.quotas import Quotas
from scheduler.placement.filter.rules import WakeEvent
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults

_WAKE_DELAY_SECONDS = 0.1
_MAX_WAKES_AT_ONCE = 1000


@dataclass(slots=True, kw_only=True)
class WakeUps:
    """Collects events, and wakes the workloads that they could help a little later.

    Attributes:
        queue: the scheduling queue, with the workloads that wait.
        requeuer: queues workloads that a reservation concerns.
        reservations: capacity that is reserved for workloads that have waited long.
        quotas: report what was given back of a quota or a budget.
        sites: report where ordered or reserved capacity was given back.
        clock: for the delay.
        faults: handles what fails in a wake-up.
        preemptions: the workloads for which others end, and where.
    """

    queue: SchedulingQueue
    requeuer: Requeuer
    reservations: Reservations
    quotas: Quotas
    sites: Sites
    clock: Clock
    faults: Faults
    preemptions: Preemptions
    _events: set[WakeEvent] = field(default_factory=set)
    _increased_sites: set[str] = field(default_factory=set)
    _requested: asyncio.Event = field(default_factory=asyncio.Event)

    def add_events(self, *events: WakeEvent) -> None:
        """Notes that something happened that could help waiting workloads."""
        if events:
            self._events.update(events)
            self._requested.set()

    def add_increased_site(self, site: str) -> None:
        """Notes that a site may have more capacity; takes effect with the next `add_events`."""
        self._increased_sites.add(site)

    def add_freed_resources(self) -> None:
        """Notes what quotas and sites were given back since the last call."""
        if self.quotas.take_freed():
            self.add_events("quota")
        freed = self.sites.take_freed()
        if freed:
            self._increased_sites |= freed
            self.add_events("capacity")

    async def run(self) -> None:
        """Wakes workloads shortly after events, each once for a burst; runs until cancelled."""
        while True:
            await self._requested.wait()
            await self.clock.sleep(_WAKE_DELAY_SECONDS)
            self._requested.clear()
            events, self._events = self._events, set()
            increased, self._increased_sites = self._increased_sites, set()
            if increased:
                events.discard("capacity")  # the sites are known, so only what fits there wakes
                with self.faults.barrier("wake-up"):
                    self._on_capacity_increased(increased)
            with self.faults.barrier("wake-up"):
                await self._wake(events)

    async def _wake(self, events: set[WakeEvent]) -> None:
        while self.queue.wake(*events, max_count=_MAX_WAKES_AT_ONCE) == _MAX_WAKES_AT_ONCE:
            # The event loop serves others between slices of a hundred thousand workloads.
            await self.clock.sleep(0)

    def _on_capacity_increased(self, sites: set[str]) -> None:
        """Requeues workloads that may now fit on these sites, and those with a reservation there.

        A reservation does not hold back work of a higher priority, so such work is requeued too.
        """
        self.queue.on_capacity_increased(sites)
        watcher = self.queue.capacity_watcher
        self.requeuer.requeue(self.preemptions.waiting_at(sites))
        for key in self.reservations.reserved_at(sites):
            self.requeuer.requeue([key])
            priority = self.reservations.aged_priority(key)
            if watcher is not None:
                with self.reservations.released_for(key, priority):
                    self.requeuer.requeue(watcher.fitting_keys(sites, above_priority=priority))
