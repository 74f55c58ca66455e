"""Publishes what each site is to run, until the site echoes it.

The plans follow from the workloads' statuses alone, so that a restarted scheduler, or a new leader,
makes the same orders. An index goes only to a site that has reported in this epoch: a hub that was
restored from a backup must first adopt what the site runs, or its index would withdraw it.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from scheduler.control.orders.epoch_claims import EpochClaims
from scheduler.control.orders.identity import check_order_id, parse_order_id
from scheduler.control.orders.large_contents import LargeContents
from scheduler.control.orders.site_plan import SitePlan
from scheduler.control.orders.waits import OrderWait
from scheduler.control.ports.agents import (
    KEEP_DIGEST,
    OrderForSite,
    OrderNotPublishable,
    OrderPublisherPort,
    OrderStatusReport,
)
from scheduler.control.ports.telemetry import Telemetry
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.packed_manifests import pack_manifests
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults

_GATHER_SECONDS = 0.02  # changes that come together go out as one index
_MIN_INDEX_SECONDS = 0.2  # between indexes of one site, so that a burst makes few of them
_MAX_BUSY_SECONDS = 0.02  # then other tasks of the event loop run
_NOT_KNOWN = (
    "the site asks for the content of its order, and what was accepted is missing; what the site"
    " runs stays: restore the ledger, or edit the workload"
)

_REPEATS_PER_QUESTION = 3
"""A site that says nothing of its index is asked as often as an index is repeated three times."""


@dataclass(slots=True, kw_only=True)
class Dispatcher:
    """Keeps every site's plan, and publishes it.

    Attributes:
        publisher: publishes to sites.
        clock: for gathering changes and repeating messages.
        telemetry: counts what is published.
        repeat_seconds: a message is repeated at most this often to a site that lacks it.
        on_higher_epoch: called with the epoch of an index that our key has signed for a site and
            that is later than ours.
        on_refusal: called with the workload of an order that cannot be published.
        faults: handles the faults that single sites and orders cause.
        is_history_lost: whether the ledger was lost, and the operator has not accepted that; then
            no index withdraws an order that no plan has.
        hold_seconds: how long the first index waits when the site runs orders of workloads of
            which nothing was planned; they may not have been read or restored yet.
        keeps_unknown_orders: whether such orders are left running for ever, and so the first index
            waits until the plan has them all.
        may_publish: whether this scheduler still leads.
        wait_of: says what an order of a site waits for before its content is published; None:
            nothing.
        on_orders: called with the orders of a workload, by site, whenever they are set.
        content_of: makes the content of an order that a plan has by its digest alone; None: it is
            not known any more.
        is_lost: whether a drill treats a site as lost, so that nothing is published to it.
        epoch: the leader's epoch.
        sequence: of the newest index to any site in this epoch. One counter for all sites, so
            that it never falls when a Site is deleted and made again.
        is_publishing: all plans are complete. No index is published before that: one made from
            half of the workloads would withdraw the others.
        plans: by site.
    """

    publisher: OrderPublisherPort
    clock: Clock
    telemetry: Telemetry
    repeat_seconds: float
    on_higher_epoch: Callable[[int], None]
    on_refusal: Callable[[WorkKey], None]
    faults: Faults
    is_history_lost: Callable[[], bool] = lambda: False
    hold_seconds: float = 0.0
    keeps_unknown_orders: Callable[[], bool] = lambda: False
    may_publish: Callable[[], bool] = lambda: True
    wait_of: Callable[[str, OrderForSite], OrderWait | None] = lambda _site, _order: None
    on_orders: Callable[[WorkKey, Mapping[str, OrderForSite]], None] = lambda _key, _orders: None
    content_of: Callable[[str, OrderForSite], OrderForSite | None] = lambda _site, _order: None
    is_lost: Callable[[str], bool] = lambda _site: False
    epoch: int = 0
    sequence: int = 0
    is_publishing: bool = False
    plans: dict[str, SitePlan] = field(default_factory=dict)
    _sites_of: dict[WorkKey, frozenset[str]] = field(default_factory=dict)
    _planned: set[WorkKey] = field(default_factory=set)
    _purged_sites_of: dict[WorkKey, frozenset[str]] = field(default_factory=dict)
    _held_sites_of: dict[WorkKey, frozenset[str]] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _claims: EpochClaims = field(init=False)
    _large: LargeContents = field(init=False)

    def __post_init__(self) -> None:
        self._large = LargeContents(
            publisher=self.publisher, faults=self.faults, on_ready=self._on_content_made
        )
        self._claims = EpochClaims(
            publisher=self.publisher,
            clock=self.clock,
            telemetry=self.telemetry,
            repeat_seconds=self.repeat_seconds,
            on_proven=self.on_higher_epoch,
        )

    def admit(self, site: str, uid: str) -> None:
        """Adds a site; a new uid under an old name is another site, which gets a new index."""
        plan = self.plans.setdefault(site, SitePlan())
        if plan.uid != uid:
            plan.uid, plan.is_dirty = uid, True
            self._changed.set()

    def forget_site(self, site: str) -> None:
        """Drops the plan of a site whose object is gone; what runs there is left alone."""
        self.plans.pop(site, None)
        self.publisher.forget_site(site)
        self._claims.forget(site)

    def set_orders(self, key: WorkKey, orders: Mapping[str, OrderForSite]) -> None:
        """Sets the orders of a workload by site; sites that are missing withdraw theirs."""
        for site in self._sites_of.get(key, frozenset()):
            plan, order = self.plans.get(site), orders.get(site)
            for order_id in list(plan.ids_by_key.get(key, ())) if plan else ():
                if plan and (order is None or order.id != order_id):  # an earlier workload's too
                    plan.remove_order(order_id)
                    self._mark_dirty(plan)
        for site, order in orders.items():
            plan = self.plans.get(site)
            if plan and not self._is_kept_content(site, plan, order) and plan.set_order(order):
                self._mark_dirty(plan)
        self.release(key)
        self._planned.add(key)
        self._sites_of[key] = frozenset(orders)
        if not orders:
            del self._sites_of[key]
        self.on_orders(key, orders)

    def sites_of(self, key: WorkKey) -> frozenset[str]:
        """The sites that have an order under a key."""
        return self._sites_of.get(key, frozenset())

    def recheck(self, site: str, key: WorkKey) -> None:
        """Looks again at what the orders of a workload at a site wait for."""
        plan = self.plans.get(site)
        for order_id in tuple(plan.ids_by_key.get(key, ())) if plan else ():
            if plan and plan.waits.pop(order_id, None) is not None:
                self._mark_dirty(plan)

    def renew(self, site: str, order_id: str) -> None:
        """Makes the content of an order again, because the site needs it in another form."""
        plan = self.plans.get(site)
        if plan and order_id in plan.orders:
            plan.renew_order(order_id)
            self._mark_dirty(plan)

    def wait_at(self, site: str, order_id: str) -> OrderWait | None:
        """What the present content of an order waits for; None when it does not."""
        plan = self.plans.get(site)
        return plan.waits.get(order_id) if plan else None

    def forget_workload(self, key: WorkKey) -> None:
        """Withdraws the orders of a workload that is gone; what a site still runs is unknown."""
        self.set_orders(key, {})
        self.set_purges(key, {})
        self._planned.discard(key)

    def set_purges(self, key: WorkKey, order_ids: Mapping[str, frozenset[str]]) -> None:
        """Sets of which orders each site is to delete the claims of a workload too, by site.

        A word that is no longer needed is left out of the next index; it makes none by itself.
        """
        for site in self._purged_sites_of.pop(key, frozenset()) - order_ids.keys():
            if plan := self.plans.get(site):
                plan.purges.pop(key, None)
        for site, ids in order_ids.items():
            plan = self.plans.get(site)
            if plan and plan.purges.get(key) != ids:
                plan.purges[key] = ids
                self._mark_dirty(plan)
        if order_ids:
            self._purged_sites_of[key] = frozenset(order_ids)

    def hold_for(self, key: WorkKey, sites: Iterable[str]) -> None:
        """Holds the indexes of these sites until the orders of a workload are set or removed."""
        self.release(key)
        self._held_sites_of[key] = frozenset(sites)
        for site in self._held_sites_of[key] & self.plans.keys():
            self.plans[site].unrestored.add(key)

    def is_held_for(self, key: WorkKey, site: str) -> bool:
        """Whether the index of a site waits for the orders of a workload."""
        return site in self._held_sites_of.get(key, frozenset())

    def release(self, key: WorkKey) -> None:
        """Ends what `hold_for` began."""
        for site in self._held_sites_of.pop(key, frozenset()) & self.plans.keys():
            self.plans[site].unrestored.discard(key)
            self._changed.set()

    def order_at(self, site: str, order_id: str) -> OrderForSite | None:
        """The order of a site with this id; None when there is none."""
        plan = self.plans.get(site)
        return plan.orders.get(order_id) if plan else None

    def replace_order(self, site: str, order: OrderForSite) -> None:
        """Replaces an order that a site's plan has by another form of it."""
        plan = self.plans.get(site)
        if plan and order.id in plan.orders and plan.set_order(order):
            self._mark_dirty(plan)

    def _is_kept_content(self, site: str, plan: SitePlan, order: OrderForSite) -> bool:
        """Whether the plan has an order by its digest, and this is its content."""
        known = plan.orders.get(order.id)
        if known is None or not known.kept_digest or order.kept_digest:
            return False
        if known.kept_digest == KEEP_DIGEST:
            return False  # no content has it
        if known.generation != order.generation:
            return False
        return self.digest_of(site, order) == known.kept_digest

    def digest_of(self, site: str, order: OrderForSite) -> str:
        """The digest that an index lists for an order; "" when it cannot be published."""
        plan = self.plans.get(site)
        known = plan.listed_digests.get(order.id) if plan else None
        if known is not None and known[0] == order:
            return known[1]
        if order.not_made_because:
            return ""
        digest, manifests = "", pack_manifests(order.manifests)
        if manifests is not order.manifests:
            order = replace(order, manifests=manifests)
        with self.faults.barrier("dispatch"), contextlib.suppress(OrderNotPublishable):
            digest = self.publisher.digest_of(site, order)
        if plan:
            plan.listed_digests[order.id] = (order, digest)
        return digest

    def refusal_at(self, site: str, order_id: str) -> str:
        """Why the present content of an order cannot be published; "" when it can."""
        plan = self.plans.get(site)
        return plan.refusal_of(order_id) if plan else ""

    def on_order_status(self, report: OrderStatusReport) -> None:
        """Handles a report: repeats the index or contents if the site does not have them."""
        plan = self.plans.get(report.site)
        if plan is None:
            return
        base, now = self.publisher.base_version(report.site), self._now()
        is_unable = plan.delta_use.note_agent(report, now)
        if is_unable and base is not None:  # it may take the site's lease, and read the base alone
            self._mark_dirty(plan)
        if not report.is_executing:
            return
        self._claims.on_status(
            report,
            site_uid=plan.uid,
            newest=plan.version or (self.epoch, self.sequence),
            digest=plan.index_digest if plan.version else "",
        )
        if plan.version is None:
            plan.has_reported = True
            plan.listed = frozenset(report.orders)
            plan.unknown_orders = plan.listed - plan.orders.keys()
            plan.hold_until_seconds = plan.hold_until_seconds or self._now() + self.hold_seconds
            self._changed.set()
        plan.is_echoed = (report.version, report.digest) == (plan.version, plan.index_digest)
        plan.note_foreign_index(report, (self.epoch, self.sequence), self.clock.now())
        is_lacking = plan.delta_use.on_echo(
            report, base=base, newest=plan.version, now=now, repeat_seconds=self.repeat_seconds
        )
        is_late = not plan.is_echoed and plan.version and self._is_repeat_due(plan.sent_seconds)
        if is_lacking or is_late:
            self._mark_dirty(plan)
        for order_id in report.missing:
            self._republish_content(report.site, plan, order_id)

    def on_report(self, site: str) -> None:
        """Asks a site that is there for its status if it has not echoed its index for long.

        An agent whose status does not change need not repeat it; the index may not have arrived.
        A first index that was held is tried again: what held it may be over.
        """
        plan = self.plans.get(site)
        if plan is not None and plan.version is None and plan.has_reported:
            self._changed.set()
        if plan is None or plan.version is None or plan.is_echoed:
            return
        since = max(plan.sent_seconds, plan.asked_seconds)
        if self._now() - since >= self.repeat_seconds * _REPEATS_PER_QUESTION:
            plan.asked_seconds = self._now()
            self.publisher.request_reports(site, self.epoch, want_status=True, want_report=False)

    def is_listed(self, site: str, order_id: str, report: OrderStatusReport) -> bool:
        """Whether a site works by an index that lists an order with its present content."""
        plan = self.plans.get(site)
        listed = plan.first_listed_in.get(order_id) if plan else None
        if plan is None or plan.version is None or listed is None or report.version is None:
            return False
        return listed <= report.version <= plan.version

    def foreign_index_condition(self, site: str) -> Condition | None:
        """The condition ForeignIndex of a site; None when it works by an index of ours."""
        plan = self.plans.get(site)
        return plan.foreign_index_condition((self.epoch, self.sequence)) if plan else None

    def is_withdrawn(self, site: str, order_id: str, report: OrderStatusReport | None) -> bool:
        """Whether a site confirms that it runs nothing of a workload that it has no order of.

        Args:
            site: the site.
            order_id: id of the workload's orders; those of its name before it count too.
            report: what the site reports.
        """
        plan = self.plans.get(site)
        if plan is None:
            return True
        if plan.is_dirty or not plan.is_echoed or report is None:
            return False
        workload = order_id.rpartition("/")[0]
        return not any(one.rpartition("/")[0] == workload for one in report.orders)

    def start_publishing(self) -> None:
        """Allows indexes to be published, because every plan is complete."""
        self.is_publishing = True
        self._changed.set()

    def start_epoch(self, epoch: int) -> None:
        """Begins a new epoch: every index is published again, with a higher version than before."""
        if epoch > self.epoch:
            self.epoch, self.sequence = epoch, 0
        for plan in self.plans.values():
            plan.start_epoch()
        self._changed.set()

    def refresh(self, older_than_seconds: float, is_outdated: Callable[[str], bool]) -> None:
        """Publishes again what has not gone out for long, to sites for which that is outdated."""
        oldest = self._now() - older_than_seconds
        for site, plan in self.plans.items():
            if plan.version is not None and plan.sent_seconds <= oldest and is_outdated(site):
                plan.is_dirty = True
                self._changed.set()

    def republish_all(self) -> None:
        """Publishes every index again, because the broker may have lost it; contents on request."""
        for plan in self.plans.values():
            plan.republish()
        self._changed.set()

    async def run(self) -> None:
        """Publishes changes shortly after they are made; runs until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._large.run(), name="make large contents")
            group.create_task(self._publish_for_ever(), name="publish orders")

    async def _publish_for_ever(self) -> None:
        while True:
            await self._changed.wait()
            await self.clock.sleep(_GATHER_SECONDS)
            self._changed.clear()
            with self.faults.barrier("dispatch"):
                if self._publish_changed(_MIN_INDEX_SECONDS, _MAX_BUSY_SECONDS):
                    self._changed.set()

    def resume(self) -> None:
        """Publishes what was kept back, because a site is not treated as lost any more."""
        self._changed.set()

    def flush(self) -> None:
        """Publishes changed plans of sites that have reported: contents first, then the index."""
        self._publish_changed(least_seconds=0.0, busy_seconds=float("inf"))

    def _publish_changed(self, least_seconds: float, busy_seconds: float) -> bool:
        """Publishes changed plans; returns whether some have to wait.

        Args:
            least_seconds: time between two indexes of one site.
            busy_seconds: what does not begin in this time waits.
        """
        if not self.is_publishing or not self.epoch or not self.may_publish():
            return False
        is_waiting, latest, until = False, self._now() - least_seconds, self._now() + busy_seconds
        for site, plan in self.plans.items():
            if self.is_lost(site):
                continue
            is_waiting = not self._publish_kept(site, plan, until) or is_waiting
            if not plan.is_dirty or not plan.has_reported or self._is_held(plan):
                continue
            if plan.sent_seconds > latest or self._now() > until:
                is_waiting = True
                continue
            # A plan that failed stays dirty; the site's next status has it published again.
            with self.faults.barrier("dispatch"):
                is_waiting = not self._publish(site, plan, until) or is_waiting
        return is_waiting

    def _mark_dirty(self, plan: SitePlan) -> None:
        plan.is_dirty = True
        self._changed.set()

    def _is_held(self, plan: SitePlan) -> bool:
        """Whether an index must wait, because it would withdraw orders that the plan lacks."""
        if plan.unrestored:
            return True
        if plan.version is not None or not plan.unknown_orders - plan.orders.keys():
            return False
        if self.is_history_lost() or self.keeps_unknown_orders():
            return True
        unknown = plan.unknown_orders - plan.orders.keys()
        is_unplanned = not all(self._is_planned(order_id) for order_id in unknown)
        return is_unplanned and self._now() < plan.hold_until_seconds

    def _is_planned(self, order_id: str) -> bool:
        """Whether it is known where the workload of an order runs, so that it ends elsewhere."""
        identity = parse_order_id(order_id)
        return identity is not None and identity.key in self._planned

    def unknown_orders_at(self, site: str) -> tuple[str, ...]:
        """Orders that a site reports, that its plan lacks, and that are left running there."""
        plan = self.plans.get(site)
        if plan is None or plan.version is not None or not self.keeps_unknown_orders():
            return ()
        return tuple(sorted(plan.unknown_orders - plan.orders.keys()))

    def _now(self) -> float:
        return self.clock.monotonic()

    def _publish(self, site: str, plan: SitePlan, until: float) -> bool:
        """Publishes contents that are not published yet, then the index; returns whether all is."""
        later: set[str] = set()
        has_time = until == float("inf")
        for order in plan.unpublished():
            if self._now() > until:
                return False
            if not has_time and self._is_made_later(site, plan, order):
                later.add(order.id)
            else:
                self._publish_content(site, plan, order)
        if later & plan.listed - plan.published:
            return True  # the site runs them, and an index without them would withdraw them
        self.sequence += 1  # even if this fails: no two indexes have the same version
        version = (self.epoch, self.sequence)
        listed = self._orders_to_list(plan)
        for order_id in listed.keys() & plan.content_digests.keys():
            plan.first_listed_in.setdefault(order_id, version)
        use = plan.delta_use
        plan.index_digest = self.publisher.publish_index(
            site,
            plan.uid,
            version,
            listed,
            purge=plan.purge,
            takes_deltas=use.is_usable,
            renews_base=use.is_usable and use.is_base_due,
        )
        base = self.publisher.base_version(site)
        use.on_sent(is_base=base in (None, version), now=self._now())
        plan.version, plan.listed = version, frozenset(listed)
        plan.is_dirty, plan.is_echoed, plan.sent_seconds = False, False, self.clock.monotonic()
        self.telemetry.count_index_published()
        for order_id in plan.contents_to_clear:
            self.publisher.withdraw_content(site, order_id)
        plan.contents_to_clear.clear()
        return True

    def _orders_to_list(self, plan: SitePlan) -> dict[str, OrderForSite]:
        """The published orders that one index has room for; the others are reported.

        Of an order that cannot be published, the site keeps the content before, if there is one.
        """
        left_out = plan.left_out
        listed = plan.orders_to_list(self.publisher.count_that_fit)
        for order_id in (left_out ^ plan.left_out) & plan.orders.keys():
            order = plan.orders[order_id]
            self.on_refusal((order.namespace, order.name))
        return {one: plan.orders[one] for one in listed}

    def _publish_content(self, site: str, plan: SitePlan, order: OrderForSite) -> None:
        """Publishes one order; one that cannot be published is reported, and delays no other."""
        if order.not_made_because:
            plan.refusals[order.id] = order.not_made_because
            self.on_refusal((order.namespace, order.name))
            return
        # What was published may be repeated, whatever has become of the objects that it refers to.
        if order.id not in plan.content_digests and (wait := self.wait_of(site, order)):
            plan.waits[order.id] = wait
            self.on_refusal((order.namespace, order.name))
            return
        refusal = "the order cannot be written; the log has the fault"
        with self.faults.barrier("dispatch"):
            try:
                check_order_id(order)
                plan.content_digests[order.id] = self.publisher.publish_order(site, order)
                refusal = ""
            except OrderNotPublishable as error:
                refusal = str(error)
        if refusal:
            plan.refusals[order.id] = refusal
            self.on_refusal((order.namespace, order.name))
            return
        plan.published.add(order.id)
        if order.is_over:
            self.publisher.clear_content(site, order.id)
        else:
            self.telemetry.count_order_published()

    def _republish_content(self, site: str, plan: SitePlan, order_id: str) -> None:
        order = plan.orders.get(order_id)
        if (
            order is None
            or order.is_over
            or order.kept_digest == KEEP_DIGEST
            or not self._is_repeat_due(plan.content_sent_seconds.get(order_id, float("-inf")))
        ):
            return
        plan.content_sent_seconds[order_id] = self.clock.monotonic()
        if order.kept_digest:
            plan.kept_wanted.add(order_id)
            self._changed.set()
        elif order_id in plan.content_digests and self._large.is_made(site, order):
            self._publish_content(site, plan, order)

    def _is_made_later(self, site: str, plan: SitePlan, order: OrderForSite) -> bool:
        """Whether the content of an order is being made in a thread, or of one that it needs.

        A site that gets an order without what it needs would take that for not there at the hub.
        """
        if any(order.id in one for one in (plan.content_digests, plan.refusals, plan.waits)):
            return False
        if self.wait_of(site, order) is not None:
            return False
        if not self._large.is_made(site, order):
            return True
        needed = (plan.orders.get(order_id) for order_id in order.needs)
        return any(one is not None and self._is_made_later(site, plan, one) for one in needed)

    def _on_content_made(self, site: str, order_id: str) -> None:
        """Publishes a large content: again if the site has asked for it, else with its index."""
        plan = self.plans.get(site)
        order = plan.orders.get(order_id) if plan else None
        if plan is None or order is None:
            return
        if order_id in plan.content_digests:
            self._publish_content(site, plan, order)
        else:
            self._mark_dirty(plan)

    def _publish_kept(self, site: str, plan: SitePlan, until: float) -> bool:
        """Publishes contents that a site wants and the plan has not; returns whether all are."""
        while plan.kept_wanted:
            if self._now() > until:
                return False
            order = plan.orders.get(plan.kept_wanted.pop())
            if order is not None and order.kept_digest:
                self._publish_kept_content(site, plan, order)
        return True

    def _publish_kept_content(self, site: str, plan: SitePlan, order: OrderForSite) -> None:
        """Makes and publishes the content of an order that the plan has by its digest alone."""
        content = None
        with self.faults.barrier("dispatch"):
            content = self.content_of(site, order)
        if content is None:
            plan.refusals[order.id] = _NOT_KNOWN
            self.on_refusal((order.namespace, order.name))
        else:
            plan.refusals.pop(order.id, None)
            self._publish_content(site, plan, content)

    def _is_repeat_due(self, since_seconds: float) -> bool:
        return self.clock.monotonic() - since_seconds >= self.repeat_seconds
