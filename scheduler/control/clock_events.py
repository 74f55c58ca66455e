"""What only the passing of time brings: health of sites, grants that begin or end, stuck orders."""

import logging
from dataclasses import dataclass, field
from datetime import datetime

from scheduler.control.events.site_notices import SiteNotices
from scheduler.control.queue.planned_starts import PlannedStarts
from scheduler.control.queue.requeue import Requeuer
from scheduler.control.queue.reservations import Reservations
from scheduler.control.sites.site_readiness import HealthChange
from scheduler.control.sites.sites import Sites
from scheduler.control.state.objects import HubObjects
from scheduler.control.wake_ups import WakeUps
from scheduler.energy.limits import limit_boundaries
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import WorkloadStatus
from scheduler.model.site_health import PRESENT
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults

_log = logging.getLogger(__name__)

_CHECK_INTERVAL_SECONDS = 1.0
_STUCK_CHECK_SECONDS = 30.0
_STALL_SECONDS = 2.0
"""A check that comes this much too late shows that this process stood still: it was paused, or its
event loop was held. What sites sent meanwhile is still to be read."""


@dataclass(slots=True, kw_only=True)
class ClockEvents:
    """Checks once a second what has become due.

    Attributes:
        objects: the hub's objects.
        sites: what is known of sites.
        reservations: capacity that is reserved for workloads that have waited long.
        planned: the room that planned starts keep.
        requeuer: queues the workloads concerned.
        wake_ups: wakes workloads that wait.
        notices: says which sites are silent, and which grants begin or lapse.
        clock: the time.
        faults: handles what fails in one of the checks.
    """

    objects: HubObjects
    sites: Sites
    reservations: Reservations
    planned: PlannedStarts
    requeuer: Requeuer
    wake_ups: WakeUps
    notices: SiteNotices
    clock: Clock
    faults: Faults
    _grant_boundaries: list[datetime] = field(default_factory=list)

    async def run(self) -> None:
        """Checks once a second; runs until cancelled."""
        checked_seconds = self.clock.monotonic()
        while True:
            asleep_since_seconds = self.clock.monotonic()
            await self.clock.sleep(_CHECK_INTERVAL_SECONDS)
            with self.faults.barrier("clock"):
                self._excuse_stall(asleep_since_seconds)
            for check in (
                self._check_health,
                self._handle_grant_boundaries,
                self.reservations.update,
                self.wake_ups.add_freed_resources,
                self._redecide_due,
            ):
                with self.faults.barrier("clock"):
                    check()
            if self.clock.monotonic() - checked_seconds >= _STUCK_CHECK_SECONDS:
                checked_seconds = self.clock.monotonic()
                with self.faults.barrier("clock"):
                    self.requeuer.requeue(self._placed_not_running())

    def _excuse_stall(self, asleep_since_seconds: float) -> None:
        asleep = self.clock.monotonic() - asleep_since_seconds
        late_seconds = asleep - _CHECK_INTERVAL_SECONDS
        if late_seconds >= _STALL_SECONDS:
            self.sites.on_stall(late_seconds)
            _log.warning(
                "this process stood still for %.1f s; no site is late for that", late_seconds
            )

    def _check_health(self) -> None:
        for change in self.sites.check_health():
            with self.faults.barrier("clock"):
                self._handle_health(change)

    def _handle_health(self, change: HealthChange) -> None:
        site = change.site
        if change.after == "Silent" and change.before in PRESENT:
            self.handle_unready(site)
            return
        known, health = self.objects.sites.get(site), self.sites.states[site].health
        if change.after == "Late":
            self.notices.late(site, known)
        elif change.after == "Silent":
            self.notices.silent(site, known)
        elif change.after == "Lost":
            quiet_seconds = self.clock.monotonic() - health.quiet_since_seconds
            self.notices.lost(site, known, quiet_seconds)

    def _redecide_due(self) -> None:
        due = self.requeuer.reasons.pop_due(self.clock.now())
        self.requeuer.redecide(due, is_urgent=True)

    def mark_silent(self, site: str) -> None:
        """Marks a site as silent and requeues its workloads, unless it is silent already."""
        if self.sites.mark_silent(site):
            self.handle_unready(site)

    def handle_unready(self, site: str) -> None:
        """Requeues the workloads of a site that is not ready any more."""
        state, known = self.sites.states.get(site), self.objects.sites.get(site)
        if state is not None and not state.is_cluster_reachable:
            self.notices.cluster_unreachable(site, known)
        else:
            self.notices.silent(site, known)
        self.reservations.forget_site(site)
        self.requeuer.requeue(self.objects.workloads_at(site))
        self.requeuer.requeue(self.planned.at([site]))

    def update_grant_boundaries(self) -> None:
        """Recomputes when grants and energy limits begin or end, because some have changed."""
        now = self.clock.now()
        specs = [one.spec for one in self.objects.grants.values()]
        instants = [at for spec in specs for at in (spec.valid_from, spec.valid_until) if at]
        scheme = self.objects.default_scheme()
        if scheme is not None:
            instants += limit_boundaries(scheme.spec.energy_limits)
        self._grant_boundaries = sorted(at for at in instants if at > now)

    def _handle_grant_boundaries(self) -> None:
        now = self.clock.now()
        passed = [at for at in self._grant_boundaries if at <= now]
        if passed:
            self._grant_boundaries = self._grant_boundaries[len(passed) :]
            for name, grant in self.objects.grants.items():
                if {grant.spec.valid_from, grant.spec.valid_until} & set(passed):
                    sites = self.objects.sites_named(grant.spec.sites)
                    self.notices.grant_changed(name, grant, sites)
                    for site in grant.spec.sites:
                        placed = self.objects.workloads_at(site)
                        self.requeuer.redecide(placed, is_urgent=True)
            self.requeuer.redecide(self.objects.workloads)
            self.wake_ups.add_events("grant", "time")

    def _placed_not_running(self) -> list[WorkKey]:
        return [key for key, one in self.objects.workloads.items() if _is_placing(one.status)]


def _is_placing(status: WorkloadStatus) -> bool:
    """Whether something ordered has not run yet; beside a silent site the phase is Degraded."""
    groups = status.placement.groups
    is_degraded = status.phase == "Degraded"
    return status.phase == "Placed" or (is_degraded and any(g.phase == "Placing" for g in groups))
