"""Has large contents of orders made in a thread, so that the event loop goes on meanwhile.

To encode, deflate, seal and sign a content of 1 MiB takes some hundred milliseconds. An order whose
content is being made goes out later, and with it those that need it; all others go out now.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from scheduler.control.ports.agents import OrderForSite, OrderPublisherPort
from scheduler.runtime.faults import Faults


@dataclass(slots=True, kw_only=True)
class LargeContents:
    """The large contents that are being made.

    Attributes:
        publisher: makes them.
        faults: handles the faults that single contents cause.
        on_ready: called with the site and the id of an order whose content is made.
    """

    publisher: OrderPublisherPort
    faults: Faults
    on_ready: Callable[[str, str], None]
    _wanted: dict[tuple[str, str], OrderForSite] = field(default_factory=dict, init=False)
    _failed: dict[tuple[str, str], OrderForSite] = field(default_factory=dict, init=False)
    _has_wanted: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def is_made(self, site: str, order: OrderForSite) -> bool:
        """Whether an order can be published at once; if not, its content is made from now on."""
        place = (site, order.id)
        if self._failed.get(place) is order or not self.publisher.is_slow(site, order):
            return True
        self._wanted[place] = order
        self._has_wanted.set()
        return False

    async def run(self) -> None:
        """Makes what is wanted, one after the other; runs until cancelled."""
        while True:
            await self._has_wanted.wait()
            place = next(iter(self._wanted), None)
            if place is None:
                self._has_wanted.clear()
                continue
            site, order_id = place
            order = self._wanted[place]
            is_made = False
            with self.faults.barrier("dispatch"):
                await asyncio.to_thread(self.publisher.prepare_order, site, order)
                is_made = True
            self._failed.pop(place, None)
            if not is_made:
                self._failed[place] = order  # its publication meets the fault, and says so
            if self._wanted.get(place) is order:
                del self._wanted[place]
            with self.faults.barrier("dispatch"):
                self.on_ready(site, order_id)
