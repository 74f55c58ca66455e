"""Publishes what each site is to run, until the site echoes it.

The plans follow from the workloads' statuses alone, so that a restarted scheduler, or a new leader,
makes the same orders. An index goes only to a site that has reported in this epoch: a hub that was
restored from a backup must first adopt what the site runs, or its index would withdraw it.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from scheduler.control.orders.epoch_claims import EpochClaims
from scheduler.control.ports.agents import (
    IndexVersion,
    OrderForSite,
    OrderNotPublishable,
    OrderPublisherPort,
    OrderStatusReport,
)
from scheduler.control.ports.telemetry import Telemetry
from scheduler.model.kinds.metadata import WorkKey
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults

_GATHER_SECONDS = 0.02  # changes that come together go out as one index


@dataclass(slots=True)
class SitePlan:
    """What one site is to run, and what of it is published and confirmed.

    Attributes:
        uid: the uid of the Site object.
        orders: the orders, by order id.
        content_digests: digests of the published contents, by order id.
        published: ids of the orders of which some content is published, be it an older one.
        refusals: why the present content of an order cannot be published, by order id.
        first_listed_in: the first index that binds an order to its content, by order id.
        version: version of the newest published index; None before the first one of this epoch.
        index_digest: digest of that index.
        is_echoed: the site works by that index.
        has_reported: the site has reported in this epoch.
        is_dirty: `orders` has changed since the newest index.
        sent_seconds: monotonic time at which the index was published last.
        content_sent_seconds: when a content was repeated last, by order id.
        unknown_orders: order ids in the site's first report of this epoch that the plan lacked.
        hold_until_seconds: until then the first index waits for these orders to become known.
        unrestored: workloads placed here whose orders could not be planned after a start. No index
            is published until they are: one without their orders would withdraw what runs.
        contents_to_clear: orders whose retained content is cleared with the next index, which no
            longer lists them.
        purges: the order of which the site is to delete the claims too, by workload.
    """

    uid: str = ""
    orders: dict[str, OrderForSite] = field(default_factory=dict)
    content_digests: dict[str, str] = field(default_factory=dict)
    published: set[str] = field(default_factory=set)
    refusals: dict[str, str] = field(default_factory=dict)
    first_listed_in: dict[str, IndexVersion] = field(default_factory=dict)
    version: IndexVersion | None = None
    index_digest: str = ""
    is_echoed: bool = False
    has_reported: bool = False
    is_dirty: bool = True
    sent_seconds: float = float("-inf")
    content_sent_seconds: dict[str, float] = field(default_factory=dict)
    contents_to_clear: set[str] = field(default_factory=set)
    unknown_orders: frozenset[str] = frozenset()
    hold_until_seconds: float = 0.0
    unrestored: set[WorkKey] = field(default_factory=set)
    purges: dict[WorkKey, str] = field(default_factory=dict)

    @property
    def purge(self) -> frozenset[str]:
        """Ids of unlisted orders of which the claims go too."""
        return frozenset(self.purges.values()) - self.orders.keys()


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
        hold_seconds: how long the first index waits when the site runs orders that its plan lacks;
            their workloads may not have been read or restored yet.
        epoch: the leader's epoch.
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
    hold_seconds: float = 0.0
    epoch: int = 0
    is_publishing: bool = False
    plans: dict[str, SitePlan] = field(default_factory=dict)
    _sites_of: dict[WorkKey, frozenset[str]] = field(default_factory=dict)
    _purged_sites_of: dict[WorkKey, frozenset[str]] = field(default_factory=dict)
    _held_sites_of: dict[WorkKey, frozenset[str]] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _last_versions: dict[str, IndexVersion] = field(default_factory=dict)
    _claims: EpochClaims = field(init=False)

    def __post_init__(self) -> None:
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
        self._claims.forget(site)

    def set_orders(self, key: WorkKey, orders: Mapping[str, OrderForSite]) -> None:
        """Sets the orders of a workload by site; sites that are missing withdraw theirs."""
        for site in self._sites_of.get(key, frozenset()) - orders.keys():
            plan = self.plans.get(site)
            for order_id in (
                [i for i, one in plan.orders.items() if _belongs_to(one, key)] if plan else ()
            ):
                self._remove_order(site, order_id)
        for site, order in orders.items():
            plan = self.plans.get(site)
            if plan and plan.orders.get(order.id) != order:
                plan.orders[order.id] = order
                plan.content_digests.pop(order.id, None)
                plan.refusals.pop(order.id, None)
                plan.first_listed_in.pop(order.id, None)
                plan.contents_to_clear.discard(order.id)
                plan.is_dirty = True
                self._changed.set()
        self._release(key)
        self._sites_of[key] = frozenset(orders)
        if not orders:
            del self._sites_of[key]

    def set_purges(self, key: WorkKey, order_ids: Mapping[str, str]) -> None:
        """Sets of which order each site is to delete the claims of a workload too, by site.

        A word that is no longer needed is left out of the next index; it makes none by itself.
        """
        for site in self._purged_sites_of.pop(key, frozenset()) - order_ids.keys():
            if plan := self.plans.get(site):
                plan.purges.pop(key, None)
        for site, order_id in order_ids.items():
            plan = self.plans.get(site)
            if plan and plan.purges.get(key) != order_id:
                plan.purges[key] = order_id
                plan.is_dirty = True
                self._changed.set()
        if order_ids:
            self._purged_sites_of[key] = frozenset(order_ids)

    def hold_for(self, key: WorkKey, sites: Iterable[str]) -> None:
        """Holds the indexes of sites until the orders of a workload are set or removed."""
        self._held_sites_of[key] = frozenset(sites)
        for site in self._held_sites_of[key] & self.plans.keys():
            self.plans[site].unrestored.add(key)

    def _release(self, key: WorkKey) -> None:
        for site in self._held_sites_of.pop(key, frozenset()) & self.plans.keys():
            self.plans[site].unrestored.discard(key)
            self._changed.set()

    def order_at(self, site: str, order_id: str) -> OrderForSite | None:
        """The order of a site with this id; None when there is none."""
        plan = self.plans.get(site)
        return plan.orders.get(order_id) if plan else None

    def refusal_at(self, site: str, order_id: str) -> str:
        """Why the present content of an order cannot be published; "" when it can."""
        plan = self.plans.get(site)
        return plan.refusals.get(order_id, "") if plan else ""

    def on_order_status(self, report: OrderStatusReport) -> None:
        """Handles a report: repeats the index or contents if the site does not have them."""
        plan = self.plans.get(report.site)
        if plan is None or not report.is_executing:
            return
        self._claims.on_status(
            report,
            site_uid=plan.uid,
            newest=plan.version or self._last_versions.get(report.site, (self.epoch, 0)),
            digest=plan.index_digest if plan.version else "",
        )
        if plan.version is None:
            plan.has_reported = True
            plan.unknown_orders = frozenset(report.orders) - plan.orders.keys()
            plan.hold_until_seconds = plan.hold_until_seconds or self._now() + self.hold_seconds
            self._changed.set()
        plan.is_echoed = (report.version, report.digest) == (plan.version, plan.index_digest)
        if not plan.is_echoed and plan.version and self._is_repeat_due(plan.sent_seconds):
            plan.is_dirty = True
            self._changed.set()
        for order_id in report.missing:
            self._republish_content(report.site, plan, order_id)

    def is_listed(self, site: str, order_id: str, report: OrderStatusReport) -> bool:
        """Whether a site works by an index that lists an order with its present content."""
        plan = self.plans.get(site)
        listed = plan.first_listed_in.get(order_id) if plan else None
        if plan is None or plan.version is None or listed is None or report.version is None:
            return False
        return listed <= report.version <= plan.version

    def is_withdrawn(self, site: str, key: WorkKey, report: OrderStatusReport | None) -> bool:
        """Whether a site confirms that it runs nothing of a workload that it has no order of."""
        plan = self.plans.get(site)
        if plan is None:
            return True
        if plan.is_dirty or not plan.is_echoed or report is None:
            return False
        middle = f"/{key[0]}/{key[1]}/"
        return not any(middle in f"/{order_id}" for order_id in report.orders)

    def start_publishing(self) -> None:
        """Allows indexes to be published, because every plan is complete."""
        self.is_publishing = True
        self._changed.set()

    def start_epoch(self, epoch: int) -> None:
        """Begins a new epoch: every index is published again, with a higher version than before."""
        self.epoch = epoch
        for plan in self.plans.values():
            plan.version, plan.is_dirty, plan.is_echoed = None, True, False
            plan.hold_until_seconds = 0.0
            plan.first_listed_in.clear()
        self._last_versions.clear()
        self._changed.set()

    def republish_all(self) -> None:
        """Publishes every index again, because the broker may have lost it; contents on request."""
        for plan in self.plans.values():
            plan.is_dirty = plan.is_dirty or plan.version is not None
        self._changed.set()

    async def run(self) -> None:
        """Publishes changes shortly after they are made; runs until cancelled."""
        while True:
            await self._changed.wait()
            await self.clock.sleep(_GATHER_SECONDS)
            self._changed.clear()
            with self.faults.barrier("dispatch"):
                self.flush()

    def flush(self) -> None:
        """Publishes changed plans of sites that have reported: contents first, then the index."""
        if not self.is_publishing or not self.epoch:
            return
        for site, plan in self.plans.items():
            if plan.is_dirty and plan.has_reported and not self._is_held(plan):
                # A plan that failed stays dirty; the site's next status has it published again.
                with self.faults.barrier("dispatch"):
                    self._publish(site, plan)

    def _is_held(self, plan: SitePlan) -> bool:
        """Whether an index must wait, because it would withdraw orders that the plan lacks."""
        if plan.unrestored:
            return True
        unknown = plan.unknown_orders - plan.orders.keys()
        return bool(unknown) and plan.version is None and self._now() < plan.hold_until_seconds

    def _now(self) -> float:
        return self.clock.monotonic()

    def _publish(self, site: str, plan: SitePlan) -> None:
        # A site that is created again under its old name counts on, as its agent does.
        last = plan.version or self._last_versions.get(site, (self.epoch, 0))
        version = (self.epoch, last[1] + 1)
        for order_id, order in plan.orders.items():
            if order_id not in plan.content_digests and order_id not in plan.refusals:
                self._publish_content(site, plan, order)
            if order_id in plan.content_digests:
                plan.first_listed_in.setdefault(order_id, version)
        # Of an order that cannot be published, the site keeps the content before, if there is one.
        listed = {i: one for i, one in plan.orders.items() if i in plan.published}
        plan.index_digest = self.publisher.publish_index(
            site, plan.uid, version, listed, purge=plan.purge
        )
        plan.version = self._last_versions[site] = version
        plan.is_dirty, plan.is_echoed, plan.sent_seconds = False, False, self.clock.monotonic()
        self.telemetry.count_index_published()
        for order_id in plan.contents_to_clear:
            self.publisher.withdraw_content(site, order_id)
        plan.contents_to_clear.clear()

    def _publish_content(self, site: str, plan: SitePlan, order: OrderForSite) -> None:
        """Publishes one order; one that cannot be published is reported, and delays no other."""
        refusal = "the order cannot be written; the log has the fault"
        with self.faults.barrier("dispatch"):
            try:
                plan.content_digests[order.id] = self.publisher.publish_order(site, order)
                refusal = ""
            except OrderNotPublishable as error:
                refusal = str(error)
        if refusal:
            plan.refusals[order.id] = refusal
            self.on_refusal((order.namespace, order.name))
            return
        plan.published.add(order.id)
        self.telemetry.count_order_published()

    def _republish_content(self, site: str, plan: SitePlan, order_id: str) -> None:
        order = plan.orders.get(order_id)
        if order is None or not self._is_repeat_due(
            plan.content_sent_seconds.get(order_id, float("-inf"))
        ):
            return
        plan.content_sent_seconds[order_id] = self.clock.monotonic()
        if order_id in plan.content_digests:
            self._publish_content(site, plan, order)

    def _remove_order(self, site: str, order_id: str) -> None:
        plan = self.plans[site]
        del plan.orders[order_id]
        plan.content_digests.pop(order_id, None)
        plan.refusals.pop(order_id, None)
        plan.published.discard(order_id)
        plan.first_listed_in.pop(order_id, None)
        plan.content_sent_seconds.pop(order_id, None)
        plan.contents_to_clear.add(order_id)
        plan.is_dirty = True
        self._changed.set()

    def _is_repeat_due(self, since_seconds: float) -> bool:
        return self.clock.monotonic() - since_seconds >= self.repeat_seconds


def _belongs_to(order: OrderForSite, key: WorkKey) -> bool:
    return (order.namespace, order.name) == key
