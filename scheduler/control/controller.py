"""The loops' centre: every event comes in here, and says which workloads are to be looked at.

One worker takes workloads off the queue one after the other; effects are in `reconcile`. What is
heard from sites goes into `sites` and `dispatch` at once, synchronously, so that a decision always
stands on one consistent state.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from scheduler.control.orders.dispatch import Dispatcher
from scheduler.control.ports.agents import (
    OrderPublisherPort,
    OrderState,
    OrderStatusReport,
    SiteReport,
)
from scheduler.control.ports.hub import (
    GRANTS,
    POLICIES,
    SITES,
    TENANTS,
    WORKLOADS,
    Conflict,
    HubError,
)
from scheduler.control.ports.telemetry import Telemetry
from scheduler.control.queue.reservations import CAPACITY_REASONS, Reservations
from scheduler.control.queue.work_queue import SchedulingQueue, Urgency
from scheduler.control.reconcile.outcome import ReconcileResult
from scheduler.control.reconcile.reconciler import Reconciler
from scheduler.control.state.fair_shares import FairShares
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.sites import Sites
from scheduler.control.state.unadmitted_sites import UnadmittedSites
from scheduler.model.kinds.kinds import Site, Workload
from scheduler.model.kinds.metadata import WorkKey
from scheduler.placement.filter.rules import WakeEvent
from scheduler.runtime.clock import Clock

_log = logging.getLogger(__name__)

_TIMER_INTERVAL_SECONDS = 1.0
_SITE_POLL_SECONDS = 0.05
_STUCK_CHECK_SECONDS = 30.0
_WAKE_DELAY_SECONDS = 0.1
_MAX_WAKES_AT_ONCE = 1000
_EVENT_OF_RESULT: Mapping[str, WakeEvent] = {"placed": "placed", "deleted": "gone"}
"""What the result of one look means for other workloads."""


@dataclass(slots=True)
class Controller:
    """Where events become work.

    Attributes:
        objects: the hub's objects.
        sites: what is known of sites.
        dispatcher: orders on their way.
        reconciler: what is done with one workload.
        queue: which is next.
        fair_shares: whose work it is, and how much he uses.
        unadmitted_sites: strangers.
        publisher: for asking sites.
        telemetry: counts attempts.
        clock: for durations.
        reservations: room that is kept for who waits long.
        wait_for_sites_seconds: how long sites are waited for after a start.
        has_synced: all objects are known, so that changes are looked at one by one.
        has_started: the start is over, and decisions are made.
    """

    objects: HubObjects
    sites: Sites
    dispatcher: Dispatcher
    reconciler: Reconciler
    queue: SchedulingQueue
    fair_shares: FairShares
    unadmitted_sites: UnadmittedSites
    publisher: OrderPublisherPort
    telemetry: Telemetry
    clock: Clock
    reservations: Reservations
    wait_for_sites_seconds: float
    has_synced: bool = False
    has_started: bool = False
    _deleting: set[WorkKey] = field(default_factory=set)
    _grant_boundaries: list[datetime] = field(default_factory=list)
    _pending_events: set[WakeEvent] = field(default_factory=set)
    _capacity_increased_sites: set[str] = field(default_factory=set)
    _wake_requested: asyncio.Event = field(default_factory=asyncio.Event)

    # ------------------------------------------------------------ from the hub

    def on_object_changed(self, kind: str, key: WorkKey, sites: frozenset[str]) -> None:
        """An object of ours changed in the hub; `sites` are those that it is about."""
        if kind == WORKLOADS.kind:
            self._on_workload_changed(key)
        elif kind == SITES.kind:
            self._on_site_changed(key[1])
        elif kind == GRANTS.kind:
            self._on_grants_changed(sites)
        else:
            if kind == TENANTS.kind:
                self.fair_shares.invalidate()
            self.reconciler.requeue_reasons.add_policy_change(self._workloads_of_policy(kind, key))
            self._redecide(self.objects.workloads)
            self._add_events("scheme", "tenant", "workload")

    def _workloads_of_policy(self, kind: str, key: WorkKey) -> list[WorkKey]:
        """The workloads of a policy; what it says anew is asked anew."""
        if kind != POLICIES.kind:
            return []
        return [
            each
            for each, one in self.objects.workloads.items()
            if each[0] == key[0] and one.spec.policy_ref and one.spec.policy_ref.name == key[1]
        ]

    def _on_workload_changed(self, key: WorkKey) -> None:
        workload = self.objects.workloads.get(key)
        if workload is not None and workload.metadata.deletion_timestamp:
            self._deleting.add(key)
        else:
            self._deleting.discard(key)
        self._enqueue(key)

    def _on_site_changed(self, name: str) -> None:
        site = self.objects.sites.get(name)
        self.reservations.forget_site(name)
        if site is None:
            self.sites.forget(name)
            self.dispatcher.forget_site(name)
            self._redecide(self.objects.workloads_at(name))
        else:
            self.admit(site)
            self._redecide(self.objects.workloads_at(name))
        self._capacity_increased_sites.add(name)
        self._add_events("site", "report", "latency", "capacity")

    def admit(self, site: Site) -> None:
        """A site is there: it is listened to, and spoken to once it was heard."""
        name = site.metadata.name
        is_new = name not in self.sites.states
        self.sites.admit(name)
        self.dispatcher.admit(name, site.metadata.uid)
        self.unadmitted_sites.remove(name)
        if is_new:
            self.publisher.request_reports(
                name, self.dispatcher.epoch, want_status=True, want_report=True
            )

    def _on_grants_changed(self, sites: Iterable[str]) -> None:
        """What runs at these sites may now break a right, and what waits may now have one."""
        for name in sites:
            if name in self.sites.states:
                self.sites.admit(name)
                self._redecide(self.objects.workloads_at(name))
        self._update_grant_boundaries()
        self._add_events("grant", "time")

    def _update_grant_boundaries(self) -> None:
        """Instants at which a grant begins or ends."""
        now = self.clock.now()
        specs = [one.spec for one in self.objects.grants.values()]
        instants = [at for spec in specs for at in (spec.valid_from, spec.valid_until) if at]
        self._grant_boundaries = sorted(at for at in instants if at > now)

    # ------------------------------------------------------------ from sites

    def on_report(self, report: SiteReport) -> None:
        """A newer report than the last one."""
        was_silent = self._is_silent(report.site)
        news = self.sites.on_report(report)
        if "capacity" in news:
            self._capacity_increased_sites.add(report.site)
        self._add_events(*news)
        if was_silent:
            self._requeue(self.objects.workloads_at(report.site))

    def on_order_status(self, report: OrderStatusReport) -> None:
        """A newer status than the last one."""
        state = self.sites.states.get(report.site)
        before = state.order_status if state else None
        if not self.sites.on_order_status(report):
            return
        self.dispatcher.on_order_status(report)
        if report.is_executing:
            self._requeue(_workloads_with_changed_status(before, report))
            self._requeue(self._deleting)

    def on_site_offline(self, site: str) -> None:
        """The broker says that the site's session ended without a good-bye."""
        self._mark_silent(site)

    def on_unadmitted_site(self, site: str, public_key: str) -> None:
        """Somebody reports as a site that does not admit his key."""
        self.unadmitted_sites.record(site, public_key)

    def on_broker_connected(self) -> None:
        """A session with the broker begins; it may have forgotten everything."""
        self.dispatcher.republish_all()
        for name in self.sites.states:
            self.publisher.request_reports(
                name, self.dispatcher.epoch, want_status=True, want_report=True
            )

    # ------------------------------------------------------------ loops

    def start(self) -> None:
        """All objects are known: sites are admitted, claims made, every workload is to be seen."""
        self.has_synced = True
        self._update_grant_boundaries()
        for site in self.objects.sites.values():
            self.admit(site)
        self.reconciler.ownership.claim_all(self.objects.workloads.values())
        for key in self.objects.workloads:
            self._on_workload_changed(key)

    async def wait_for_sites(self) -> None:
        """Waits until every site has spoken, or for the stated time, before anything is decided."""
        deadline = self.clock.monotonic() + self.wait_for_sites_seconds
        while self.clock.monotonic() < deadline and not self._have_all_sites_reported():
            await self.clock.sleep(_SITE_POLL_SECONDS)
        self.reconciler.restore_orders()
        self.dispatcher.start_publishing()
        self.has_started = True

    async def run_worker(self) -> None:
        """Takes workloads one after the other; runs until cancelled."""
        while True:
            key = await self.queue.take()
            began = self.clock.monotonic()
            try:
                result = self._handle_outcome(key, await self.reconciler.reconcile(key))
            except Conflict as error:  # somebody wrote first: what he wrote comes by the watch
                _log.info("%s/%s: %s", *key, error)
                result = self._retry(key)
            except HubError as error:
                _log.warning("%s/%s: again later: %s", *key, error)
                result = self._retry(key)
            except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError):
                # A fault of ours that one object brought out must not end the work on all others.
                _log.exception("%s/%s: a fault of the scheduler, tried again later", *key)
                result = self._retry(key)
            finally:
                self.queue.finish(key)
            self._signal_freed_resources()
            self.telemetry.observe_attempt(result, self.clock.monotonic() - began)

    async def run_wake_ups(self) -> None:
        """Wakes waiting work for what happened, a little later, so that a burst wakes it once."""
        while True:
            await self._wake_requested.wait()
            await self.clock.sleep(_WAKE_DELAY_SECONDS)
            self._wake_requested.clear()
            events, self._pending_events = self._pending_events, set()
            gained, self._capacity_increased_sites = self._capacity_increased_sites, set()
            if gained:
                events.discard("capacity")  # where there is more is known
                self._on_capacity_increased(gained)
            while self.queue.wake(*events, max_count=_MAX_WAKES_AT_ONCE) == _MAX_WAKES_AT_ONCE:
                await self.clock.sleep(0)  # a hundred thousand wake without holding others up

    def _on_capacity_increased(self, sites: set[str]) -> None:
        """Who could fit has his turn, and for whom what is reserved there is meant."""
        self.queue.on_capacity_increased(sites)
        for key in self.reservations.reserved_at(sites):
            self._requeue([key])
            level, lookout = self.reservations.aged_priority(key), self.queue.capacity_watcher
            with self.reservations.released_for(key, level):
                self._requeue(lookout.fitting_keys(sites, above_priority=level) if lookout else ())

    async def run_timers(self) -> None:
        """What only the passing of time brings: silence, grants' ends, orders that are stuck."""
        looked_seconds = self.clock.monotonic()
        while True:
            await self.clock.sleep(_TIMER_INTERVAL_SECONDS)
            for site in list(self.sites.overdue_sites()):
                self._mark_silent(site)
            self._handle_grant_boundaries()
            self.reservations.update()
            self._signal_freed_resources()
            self._redecide(self.reconciler.requeue_reasons.pop_due(self.clock.now()))
            if self.clock.monotonic() - looked_seconds >= _STUCK_CHECK_SECONDS:
                looked_seconds = self.clock.monotonic()
                self._requeue(self._placed_not_running())

    # ------------------------------------------------------------ inside

    def _handle_outcome(self, key: WorkKey, outcome: ReconcileResult) -> str:
        self.queue.succeed(key)
        self._update_waiting_for_capacity(key, outcome)
        if outcome.result in _EVENT_OF_RESULT:
            self._add_events(_EVENT_OF_RESULT[outcome.result])
        if outcome.result == "deleted" and key not in self.objects.workloads:
            self.queue.forget(key)  # else made anew under its name meanwhile: looked at again
        elif outcome.unschedulable_reasons:
            pause = outcome.retry_after_seconds
            self.queue.mark_unschedulable(
                key,
                outcome.unschedulable_reasons,
                minimum_request=outcome.minimum_request,
                retry_after_seconds=pause,
            )
        return outcome.result

    def _update_waiting_for_capacity(self, key: WorkKey, outcome: ReconcileResult) -> None:
        workload = self.objects.workloads.get(key)
        if workload is None:
            self.reservations.set_waiting(key, is_waiting=False)
            return
        self.reservations.set_waiting(
            key,
            is_waiting=bool(outcome.unschedulable_reasons & CAPACITY_REASONS),
            priority=workload.spec.priority,
            generation=workload.metadata.generation,
        )

    def _signal_freed_resources(self) -> None:
        """What was given back may be what somebody waits for."""
        quotas, sites = self.reconciler.order_sync.quotas, self.sites
        if quotas.was_freed:
            self._add_events("quota")
        if sites.freed_sites:
            self._capacity_increased_sites |= sites.freed_sites
            self._add_events("capacity")
        quotas.was_freed, sites.freed_sites = False, set()

    def _retry(self, key: WorkKey) -> str:
        self.queue.fail(key)
        return "error"

    def _enqueue(self, key: WorkKey) -> None:
        workload = self.objects.workloads.get(key)
        self.queue.add(key, self._urgency_of(workload))

    def _urgency_of(self, workload: Workload | None) -> Urgency:
        if workload is None:
            return Urgency()
        created = workload.metadata.creation_timestamp
        return Urgency(
            workload.spec.priority,
            created.timestamp() if created else 0.0,
            self.fair_shares.owner_of(workload.metadata.namespace),
        )

    def _requeue(self, keys: Iterable[WorkKey]) -> None:
        for key in keys:
            if key in self.objects.workloads:
                self._enqueue(key)

    def _redecide(self, keys: Iterable[WorkKey]) -> None:
        keys = list(keys)
        self.reconciler.requeue_reasons.add_redecision(keys)
        self._requeue(keys)

    def _add_events(self, *events: WakeEvent) -> None:
        if events:
            self._pending_events.update(events)
            self._wake_requested.set()

    def _handle_grant_boundaries(self) -> None:
        now = self.clock.now()
        passed = [at for at in self._grant_boundaries if at <= now]
        if passed:
            self._grant_boundaries = self._grant_boundaries[len(passed) :]
            self._redecide(self.objects.workloads)
            self._add_events("grant", "time")

    def _mark_silent(self, site: str) -> None:
        if self.sites.mark_silent(site):
            _log.warning("site %s is silent", site)
            self.reservations.forget_site(site)
            self._requeue(self.objects.workloads_at(site))

    def _is_silent(self, site: str) -> bool:
        state = self.sites.states.get(site)
        return state is not None and not state.is_ready

    def _placed_not_running(self) -> list[WorkKey]:
        return [key for key, one in self.objects.workloads.items() if one.status.phase == "Placed"]

    def _have_all_sites_reported(self) -> bool:
        return all(one.report and one.order_status for one in self.sites.states.values())


def _workloads_with_changed_status(
    before: OrderStatusReport | None, report: OrderStatusReport
) -> list[WorkKey]:
    """Workloads of whose orders a site says something else than before."""
    old: dict[str, OrderState] = dict(before.orders) if before else {}
    changed = [i for i, state in report.orders.items() if old.pop(i, None) != state]
    return [key for key in map(_work_key_of, (*changed, *old)) if key is not None]


def _work_key_of(order_id: str) -> WorkKey | None:
    """Hub / namespace / name / incarnation."""
    parts = order_id.split("/")
    return (parts[-3], parts[-2]) if len(parts) >= 4 else None  # noqa: PLR2004 - as above
