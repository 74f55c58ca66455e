"""Routes every event of the hub and the sites to the state that it changes and to the queue.

What sites report goes into `sites` and `dispatcher` synchronously, so that a decision always sees
one consistent state. Workloads that an event concerns are queued; `worker.py` reconciles them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from scheduler.control.clock_events import ClockEvents
from scheduler.control.events.site_notices import SiteNotices
from scheduler.control.orders.dispatch import Dispatcher
from scheduler.control.orders.identity import OrderIdentity, parse_order_id
from scheduler.control.orders.referred import ReferredObjects
from scheduler.control.orders.referred_ids import parse_referred_key
from scheduler.control.ports.agents import (
    OrderPublisherPort,
    OrderState,
    OrderStatusReport,
    SiteReport,
)
from scheduler.control.ports.hub import GRANTS, POLICIES, SCHEMES, SITES, TENANTS, WORKLOADS
from scheduler.control.preemption.active import Preemptions
from scheduler.control.queue.planned_starts import PlannedStarts
from scheduler.control.queue.requeue import Requeuer
from scheduler.control.queue.reservations import Reservations
from scheduler.control.sites.sites import Sites
from scheduler.control.sites.unadmitted_sites import UnadmittedSites
from scheduler.control.state.fair_shares import FairShares
from scheduler.control.state.ledger_heads import LedgerHeads
from scheduler.control.state.objects import HubObjects
from scheduler.control.wake_ups import WakeUps
from scheduler.model.kinds.kinds import Site
from scheduler.model.kinds.metadata import WorkKey


@dataclass(slots=True, kw_only=True)
class Controller:
    """Implements `scheduler.control.ports.agents.AgentEventHandler`, and handles hub events.

    Attributes:
        objects: the hub's objects.
        sites: what is known of sites.
        dispatcher: publishes orders.
        publisher: sends requests for reports to sites.
        requeuer: queues the workloads that an event concerns.
        reservations: capacity that is reserved for workloads that have waited long.
        fair_shares: how much of its quota each tenant uses.
        unadmitted_sites: sites that report and have no Site object.
        ledger_heads: which sites hold which heads of the ledger.
        wake_ups: wakes workloads that an event could help.
        clock_events: knows when grants begin or end, and when sites are silent.
        notices: says which sites are admitted, granted or back.
        referred: the objects that orders refer to.
        count_energy: counts the energy totals of a report.
        preemptions: the preemptions under way.
        is_lost: whether a drill treats a site as lost, so that nothing of it is taken in.
        planned: the room that planned starts keep.
    """

    objects: HubObjects
    sites: Sites
    dispatcher: Dispatcher
    publisher: OrderPublisherPort
    requeuer: Requeuer
    reservations: Reservations
    fair_shares: FairShares
    unadmitted_sites: UnadmittedSites
    ledger_heads: LedgerHeads
    wake_ups: WakeUps
    clock_events: ClockEvents
    notices: SiteNotices
    referred: ReferredObjects
    preemptions: Preemptions
    planned: PlannedStarts
    count_energy: Callable[[SiteReport], None] = lambda _: None
    is_lost: Callable[[str], bool] = lambda _site: False
    _deleting: set[WorkKey] = field(default_factory=set)

    # ------------------------------------------------------------ from the hub

    def on_object_changed(self, kind: str, key: WorkKey, sites: frozenset[str]) -> None:
        """Handles a change of one of our objects in the hub.

        Args:
            kind: the kind of the object.
            key: its namespace and name.
            sites: the sites that a Site or SiteGrant is about.
        """
        if kind == WORKLOADS.kind:
            self.on_workload_changed(key)
        elif kind == SITES.kind:
            self._on_site_changed(key[1])
        elif kind == GRANTS.kind:
            self._on_grants_changed(key[1], sites)
        else:
            if kind == TENANTS.kind:
                self.fair_shares.invalidate()
            if kind == SCHEMES.kind:
                self.clock_events.update_grant_boundaries()
            self.requeuer.reasons.add_policy_change(self._workloads_of_policy(kind, key))
            self.requeuer.redecide(self.objects.workloads)
            self.wake_ups.add_events("scheme", "tenant", "workload")

    def on_workload_changed(self, key: WorkKey) -> None:
        """Queues a workload that is new, changed or gone."""
        workload = self.objects.workloads.get(key)
        if workload is not None and workload.metadata.deletion_timestamp:
            self._deleting.add(key)
        else:
            self._deleting.discard(key)
        self.preemptions.note(key, workload)
        self.planned.note(key, workload)
        self.requeuer.enqueue(key)

    def admit(self, site: Site) -> None:
        """Admits a site: its reports count from now on, and a new site is asked for one."""
        name = site.metadata.name
        is_new = name not in self.sites.states
        self.sites.admit(name)
        self.dispatcher.admit(name, site.metadata.uid)
        self.unadmitted_sites.remove(name)
        if is_new:
            self._request_reports(name)

    def _workloads_of_policy(self, kind: str, key: WorkKey) -> list[WorkKey]:
        """The workloads that refer to a policy; none for objects of other kinds."""
        if kind != POLICIES.kind:
            return []
        return [
            each
            for each, one in self.objects.workloads.items()
            if each[0] == key[0] and one.spec.policy_ref and one.spec.policy_ref.name == key[1]
        ]

    def _on_site_changed(self, name: str) -> None:
        site = self.objects.sites.get(name)
        self.reservations.forget_site(name)
        self.requeuer.requeue(self.planned.at([name]))
        if site is None:
            self.notices.removed(name)
            left = self.sites.left.workloads_at(name)
            self.sites.forget(name)
            self.dispatcher.forget_site(name)
            self.requeuer.requeue(left)
            self.ledger_heads.forget(name)
        else:
            if name not in self.sites.states:
                self.notices.admitted(site)
            self.admit(site)
        self.requeuer.redecide(self.objects.workloads_at(name), is_urgent=True)
        self.wake_ups.add_increased_site(name)
        self.wake_ups.add_events("site", "report", "latency", "capacity")

    def _on_grants_changed(self, grant: str, sites: Iterable[str]) -> None:
        """Decides again what runs at these sites, and wakes what waits for a grant."""
        known = self.objects.grants.get(grant)
        concerned = self.objects.sites_named(sites)
        self.notices.grant_changed(grant, known, concerned)
        for name in sites:
            if name in self.sites.states:
                self.sites.admit(name)
                self.requeuer.redecide(self.objects.workloads_at(name), is_urgent=True)
        self.clock_events.update_grant_boundaries()
        self.wake_ups.add_events("grant", "time")

    # ------------------------------------------------------------ from sites

    def on_report(self, report: SiteReport) -> None:
        """Handles a report that is newer than the last one."""
        if self.is_lost(report.site):
            return
        was_silent, before = self._is_silent(report.site), self.sites.states.get(report.site)
        silent_since = before.ready_changed_at if before else None
        was_late = before is not None and before.health.name == "Late"
        key_before = self.sites.sealing_key_of(report.site)
        events = self.sites.on_report(report)
        self.count_energy(report)
        self.dispatcher.on_report(report.site)
        if self.sites.sealing_key_of(report.site) != key_before:
            self.referred.on_sealing_key(report.site)
        if "capacity" in events:
            self.wake_ups.add_increased_site(report.site)
        self.wake_ups.add_events(*events)
        if was_silent:
            if not self._is_silent(report.site):  # what arrives late shows no site that is back
                known = self.objects.sites.get(report.site)
                self.notices.returned(report.site, known, silent_since)
            self.requeuer.requeue(self.objects.workloads_at(report.site))
        elif was_late and self.sites.states[report.site].health.name == "Reporting":
            self.notices.punctual(report.site, self.objects.sites.get(report.site))
        elif self._is_silent(report.site):  # its agent lives, and its cluster does not answer
            self.clock_events.handle_unready(report.site)

    def on_order_status(self, report: OrderStatusReport) -> None:
        """Handles an order status that is newer than the last one."""
        if self.is_lost(report.site):
            return
        state = self.sites.states.get(report.site)
        before = state.order_status if state else None
        # A proof and heads are large, and of use once.
        if not self.sites.on_order_status(replace(report, index_proof="", ledger_heads=())):
            return
        if before is None:
            self.referred.on_order_status(report)
        self.dispatcher.on_order_status(report)
        if report.is_executing:
            changed = _orders_with_changed_status(before, report)
            self.requeuer.requeue(self._of_site(report.site, changed))
            if before is None:  # what it does not report is known now, too
                self.requeuer.requeue(self.objects.workloads_at(report.site))
            self.requeuer.requeue(self._deleting)
            # Their order is no longer reported, so that no change of it brings them here.
            self.requeuer.requeue(self.sites.left.unconfirmed_at(report.site))
        self.ledger_heads.on_order_status(report)

    def on_site_offline(self, site: str) -> None:
        """Expects reports sooner: the broker sent the will message of the site's session."""
        if not self.is_lost(site):
            self.sites.on_will(site)

    def on_unadmitted_site(self, site: str, public_key: str) -> None:
        """Lists a site that reports with a key that its Site object does not admit."""
        self.unadmitted_sites.record(site, public_key)

    def on_broker_connected(self) -> None:
        """Publishes all again at the start of a session: the broker may have lost its state."""
        self.dispatcher.republish_all()
        for name in self.sites.states:
            self._request_reports(name)

    def on_drill_ended(self, site: str) -> None:
        """Serves a site again that a drill has treated as lost, and asks for what it has."""
        if site in self.sites.states:
            self.dispatcher.resume()
            self._request_reports(site)

    def _of_site(self, site: str, orders: Iterable[OrderIdentity]) -> list[WorkKey]:
        """The workloads of orders that are or were at a site, or that the hub knows nowhere.

        What a site says of the others changes nothing, so it must not cost anything either.
        """
        left = frozenset(self.sites.left.workloads_at(site))
        orders = tuple(orders)
        claims = (parse_referred_key(one.key) for one in orders)
        with_claims = {
            one.namespace for one in claims if one and one.kind == "PersistentVolumeClaim"
        }
        return [
            one.key
            for one in orders
            if one.key in left or self.objects.is_at(one.key, site) or self._may_be_adopted(one)
        ] + [key for key in sorted(left) if key[0] in with_claims]

    def _may_be_adopted(self, order: OrderIdentity) -> bool:
        """Whether an order may be of a workload of which the hub has lost where it is."""
        workload = self.objects.workloads.get(order.key)
        if workload is None or workload.status.placement.groups:
            return False
        return workload.status.incarnation in ("", order.incarnation)

    def _request_reports(self, name: str) -> None:
        self.publisher.request_reports(
            name, self.dispatcher.epoch, want_status=True, want_report=True
        )

    def _is_silent(self, site: str) -> bool:
        state = self.sites.states.get(site)
        return state is not None and not state.is_ready


def _orders_with_changed_status(
    before: OrderStatusReport | None, report: OrderStatusReport
) -> list[OrderIdentity]:
    """The orders whose state differs between two reports of a site."""
    old: dict[str, OrderState] = dict(before.orders) if before else {}
    # What says the same is in most cases the very object that was read before.
    changed = [
        i
        for i, state in report.orders.items()
        if (known := old.pop(i, None)) is not state and known != state
    ]
    former = before.kept if before else {}
    kept = {i for i in former.keys() | report.kept.keys() if former.get(i) != report.kept.get(i)}
    # What is left in `old` is no longer reported, which is a change too.
    ids = (*changed, *old, *sorted(kept))
    return [one for one in map(parse_order_id, ids) if one is not None]
