"""The start of a leader: what happens between reading the hub and the first decision.

What is new is decided first. What was decided before and has not changed is checked again behind
it, a few workloads at a time: a taint or the end of a grant may have come meanwhile.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from scheduler.control.clock_events import ClockEvents
from scheduler.control.controller import Controller
from scheduler.control.orders.dispatch import Dispatcher
from scheduler.control.queue.requeue import Requeuer
from scheduler.control.reconcile.reconciler import Reconciler
from scheduler.control.reconcile.restore import OrderRestorer
from scheduler.control.sites.sites import Sites
from scheduler.control.state.objects import HubObjects
from scheduler.control.status.conditions import is_decided
from scheduler.model.kinds.metadata import WorkKey
from scheduler.runtime.clock import Clock, yield_loop

_SITE_POLL_SECONDS = 0.05
_RECHECKED_AT_ONCE = 20  # so much later new work is decided; one re-check takes a few milliseconds
_RECHECK_POLL_SECONDS = 0.01
_MAX_RECHECK_PAUSE_SECONDS = 0.5  # however much new work comes, the re-checks go on
_RESTORED_AT_ONCE = 20


def doubtful_sites(objects: HubObjects, now: datetime) -> frozenset[str]:
    """Sites where what runs may have to end: gone, tainted NoExecute, or of a lapsed grant."""
    placed = {
        site
        for one in objects.workloads.values()
        for group in one.status.placement.groups
        for site in group.sites
    }
    return frozenset(site for site in placed if _is_doubtful(objects, site, now))


def _is_doubtful(objects: HubObjects, name: str, now: datetime) -> bool:
    site = objects.sites.get(name)
    if site is None or any(one.effect == "NoExecute" for one in site.spec.taints):
        return True
    ends = [one.spec.valid_until for one in objects.grants_of(name)]
    return not ends or any(end is not None and end <= now for end in ends)


@dataclass(slots=True, kw_only=True)
class Startup:
    """Brings the loops from an empty memory to the first decision.

    Attributes:
        objects: the hub's objects, all of them listed before `begin`.
        sites: what is known of sites.
        dispatcher: publishes orders; not before `wait_for_sites` is done.
        controller: admits sites and queues workloads.
        requeuer: queues what is decided already, to be checked again.
        clock_events: knows when grants begin or end.
        reconciler: claims the objects of workloads.
        restorer: plans the orders of what is placed.
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
    requeuer: Requeuer
    clock_events: ClockEvents
    reconciler: Reconciler
    restorer: OrderRestorer
    clock: Clock
    wait_for_sites_seconds: float
    listening_since_seconds: float | None = None
    has_synced: bool = False
    has_started: bool = False
    _decided: list[WorkKey] = field(default_factory=list)

    def begin(self) -> None:
        """Admits all sites, and queues the workloads to decide."""
        self.has_synced = True
        self.clock_events.update_grant_boundaries()
        for site in self.objects.sites.values():
            self.controller.admit(site)
        self.reconciler.note_preemptions()
        self.reconciler.note_planned_starts()
        self.reconciler.unmarked.begin(self.objects.workloads)
        for key, workload in self.objects.workloads.items():
            if is_decided(workload):
                self._decided.append(key)
            else:
                self.controller.on_workload_changed(key)
        for state in self.sites.states.values():
            if state.order_status is not None:  # received while it stood by
                self.dispatcher.on_order_status(state.order_status)

    async def wait_for_sites(self) -> None:
        """Waits until every site has reported, at most `wait_for_sites_seconds`.

        Meanwhile claims the objects of all workloads. Then plans the orders of everything that is
        placed, and lets them be published.
        """
        since = self.listening_since_seconds
        deadline = self.wait_for_sites_seconds + (
            self.clock.monotonic() if since is None else since
        )
        for _ in self.reconciler.claim_all_objects(_RESTORED_AT_ONCE):
            await yield_loop()
        while self.clock.monotonic() < deadline and not self._have_all_sites_reported():
            await self.clock.sleep(_SITE_POLL_SECONDS)
        await self.restorer.load_accepted()
        with self.sites.gathering():
            for _ in self.restorer.restore_orders(_RESTORED_AT_ONCE):
                await yield_loop()
        self.controller.referred.plan_reported()
        # Not earlier: an index of half the workloads would withdraw the others at their sites.
        self.dispatcher.start_publishing()
        self.has_started = True

    async def recheck_decided(self) -> None:
        """Decides again what was decided before this leader, a few at a time.

        First what may break a right or have lost its site meanwhile, then what waits.

        Runs until cancelled, as all loops do.
        """
        decided, self._decided = self._decided, []
        doubtful = doubtful_sites(self.objects, self.clock.now())
        urgent = [key for key in decided if self._cannot_wait(key, doubtful)]
        first = set(urgent)
        rest = sorted((key for key in decided if key not in first), key=self._is_placed)
        await self._redecide_all(urgent, is_urgent=True)
        await self._redecide_all(rest, is_urgent=False)
        while True:
            await self.clock.sleep(3600.0)

    async def _redecide_all(self, keys: Sequence[WorkKey], *, is_urgent: bool) -> None:
        for start in range(0, len(keys), _RECHECKED_AT_ONCE):
            self.requeuer.redecide(keys[start : start + _RECHECKED_AT_ONCE], is_urgent=is_urgent)
            await self._wait_for_room()

    async def _wait_for_room(self) -> None:
        """Waits until the queue is nearly empty, but not for ever."""
        latest = self.clock.monotonic() + _MAX_RECHECK_PAUSE_SECONDS
        while self.clock.monotonic() < latest:
            await self.clock.sleep(_RECHECK_POLL_SECONDS)
            if self.requeuer.queue.depths()["active"] <= 1:
                return

    def _cannot_wait(self, key: WorkKey, doubtful: Container[str]) -> bool:
        workload = self.objects.workloads.get(key)
        groups = workload.status.placement.groups if workload else ()
        return any(one.violates or any(map(doubtful.__contains__, one.sites)) for one in groups)

    def _is_placed(self, key: WorkKey) -> bool:
        workload = self.objects.workloads.get(key)
        return workload is not None and bool(workload.status.placement.groups)

    def _have_all_sites_reported(self) -> bool:
        return all(one.report and one.order_status for one in self.sites.states.values())
