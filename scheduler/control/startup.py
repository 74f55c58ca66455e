"""The start of a leader: what happens between reading the hub and the first decision."""

from dataclasses import dataclass

from scheduler.control.clock_events import ClockEvents
from scheduler.control.controller import Controller
from scheduler.control.orders.dispatch import Dispatcher
from scheduler.control.reconcile.reconciler import Reconciler
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.sites import Sites
from scheduler.runtime.clock import Clock

_SITE_POLL_SECONDS = 0.05


@dataclass(slots=True, kw_only=True)
class Startup:
    """Brings the loops from an empty memory to the first decision.

    Attributes:
        objects: the hub's objects, all of them listed before `begin`.
        sites: what is known of sites.
        dispatcher: publishes orders; not before `wait_for_sites` is done.
        controller: admits sites and queues workloads.
        clock_events: knows when grants begin or end.
        reconciler: claims the objects of workloads, and plans the orders of what is placed.
        clock: for waiting.
        wait_for_sites_seconds: how long to wait for the first reports of the sites.
        listening_since_seconds: monotonic time since when reports are received, if this scheduler
            stood by; None: since `wait_for_sites`.
        has_synced: all objects are known, so that changes are handled one by one.
        has_started: sites were waited for, and decisions are made.
    """

    objects: HubObjects
    sites: Sites
    dispatcher: Dispatcher
    controller: Controller
    clock_events: ClockEvents
    reconciler: Reconciler
    clock: Clock
    wait_for_sites_seconds: float
    listening_since_seconds: float | None = None
    has_synced: bool = False
    has_started: bool = False

    def begin(self) -> None:
        """Admits all sites, claims the objects of all workloads, and queues all workloads."""
        self.has_synced = True
        self.clock_events.update_grant_boundaries()
        for site in self.objects.sites.values():
            self.controller.admit(site)
        self.reconciler.claim_all_objects()
        for key in self.objects.workloads:
            self.controller.on_workload_changed(key)
        for state in self.sites.states.values():
            if state.order_status is not None:  # received while it stood by
                self.dispatcher.on_order_status(state.order_status)

    async def wait_for_sites(self) -> None:
        """Waits until every site has reported, at most `wait_for_sites_seconds`.

        Then plans the orders of everything that is placed, and lets them be published.
        """
        since = self.listening_since_seconds
        deadline = self.wait_for_sites_seconds + (
            self.clock.monotonic() if since is None else since
        )
        while self.clock.monotonic() < deadline and not self._have_all_sites_reported():
            await self.clock.sleep(_SITE_POLL_SECONDS)
        self.reconciler.restore_orders()
        # Not earlier: an index of half the workloads would withdraw the others at their sites.
        self.dispatcher.start_publishing()
        self.has_started = True

    def _have_all_sites_reported(self) -> bool:
        return all(one.report and one.order_status for one in self.sites.states.values())
