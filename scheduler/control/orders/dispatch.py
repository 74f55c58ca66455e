"""Orders on their way: what each site shall run, published until the site echoes it.

Desired state is derived from the workloads' statuses and nothing else, so that a restart, or a new
leader, comes to the same orders. An index goes only to a site that was heard in this epoch: a hub
that was restored from a backup must first adopt what the site runs, or its index would withdraw
it.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from scheduler.control.ports.agents import OrderForSite, SiteWord, Speaker, Version
from scheduler.control.ports.telemetry import Telemetry
from scheduler.model.kinds.metadata import WorkKey
from scheduler.runtime.clock import Clock

_GATHER_SECONDS = 0.02  # changes that come together go out as one index


@dataclass(slots=True)
class SitePlan:
    """What one site shall run, and how far it has got.

    Attributes:
        uid: the Site object's.
        orders: by order id.
        digests: of the contents that were published, by order id.
        listed: the first index that binds an order to its content, by order id.
        version: of the newest index that was published; None before the first of this epoch.
        digest: of that index.
        echoed: the site works by that index.
        heard: the site has spoken in this epoch.
        is_dirty: `orders` has changed since the newest index.
        sent_seconds: when the index went out last.
        repeated: when a content was repeated last, by order id.
        strange: what it ran when it was heard first in this epoch and no plan knew.
        hold_until_seconds: until then the first index waits for these to become known.
        gone: orders whose retained content is to be cleared once the index no longer lists them.
    """

    uid: str = ""
    orders: dict[str, OrderForSite] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    listed: dict[str, Version] = field(default_factory=dict)
    version: Version | None = None
    digest: str = ""
    echoed: bool = False
    heard: bool = False
    is_dirty: bool = True
    sent_seconds: float = float("-inf")
    repeated: dict[str, float] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    strange: frozenset[str] = frozenset()
    hold_until_seconds: float = 0.0


@dataclass(slots=True)
class Dispatcher:
    """Keeps every site's plan, and publishes it.

    Attributes:
        speaker: the way to sites.
        clock: for gathering and repeating.
        telemetry: counts what goes out.
        repeat_seconds: an index or content is repeated at a site that lacks it this often at most.
        on_higher_epoch: told when a site works by an index of a later epoch than ours.
        hold_seconds: how long a site's first index waits when the site runs what no plan knows: its
            workloads may be about to be read, or restored.
        epoch: ours.
        is_open: every plan says what its site shall run. Until then no index goes out: one that is
            made of half the workloads would withdraw the others.
    """

    speaker: Speaker
    clock: Clock
    telemetry: Telemetry
    repeat_seconds: float
    on_higher_epoch: Callable[[int], None]
    hold_seconds: float = 0.0
    epoch: int = 0
    is_open: bool = False
    plans: dict[str, SitePlan] = field(default_factory=dict)
    _sites_of: dict[WorkKey, frozenset[str]] = field(default_factory=dict)
    _event: asyncio.Event = field(default_factory=asyncio.Event)

    def admit(self, site: str, uid: str) -> None:
        """There is such a site; a new uid under an old name is another site."""
        plan = self.plans.setdefault(site, SitePlan())
        if plan.uid != uid:
            plan.uid, plan.is_dirty = uid, True
            self._event.set()

    def forget_site(self, site: str) -> None:
        """The Site object is gone: nothing more is said there; what runs is left alone."""
        self.plans.pop(site, None)

    def set_orders(self, key: WorkKey, orders: Mapping[str, OrderForSite]) -> None:
        """Sets where a workload is ordered: site name → order. Empty withdraws it everywhere."""
        for site in self._sites_of.get(key, frozenset()) - orders.keys():
            plan = self.plans.get(site)
            for order_id in (
                [i for i, one in plan.orders.items() if _is_of(one, key)] if plan else ()
            ):
                self._remove(site, order_id)
        for site, order in orders.items():
            plan = self.plans.get(site)
            if plan and plan.orders.get(order.id) != order:
                plan.orders[order.id] = order
                plan.digests.pop(order.id, None)
                plan.listed.pop(order.id, None)
                plan.gone.discard(order.id)
                plan.is_dirty = True
                self._event.set()
        self._sites_of[key] = frozenset(orders)
        if not orders:
            del self._sites_of[key]

    def order_at(self, site: str, order_id: str) -> OrderForSite | None:
        """What a site is ordered under an id; None: nothing."""
        plan = self.plans.get(site)
        return plan.orders.get(order_id) if plan else None

    def word(self, word: SiteWord) -> None:
        """A site spoke: does it work by our newest index, and does it have all contents?"""
        plan = self.plans.get(word.site)
        if plan is None or not word.is_executing:
            return
        if word.version is not None and word.version[0] > self.epoch:
            self.on_higher_epoch(word.version[0])
        if plan.version is None:
            plan.heard = True
            plan.strange = frozenset(word.orders) - plan.orders.keys()
            plan.hold_until_seconds = plan.hold_until_seconds or self._now() + self.hold_seconds
            self._event.set()
        plan.echoed = (word.version, word.digest) == (plan.version, plan.digest)
        if not plan.echoed and plan.version and self._is_due(plan.sent_seconds):
            plan.is_dirty = True
            self._event.set()
        for order_id in word.missing:
            self._repeat_content(word.site, plan, order_id)

    def is_listed(self, site: str, order_id: str, word: SiteWord) -> bool:
        """Whether a site works by an index that has an order with its present content."""
        plan = self.plans.get(site)
        listed = plan.listed.get(order_id) if plan else None
        return listed is not None and word.version is not None and word.version >= listed

    def is_withdrawn(self, site: str, key: WorkKey, word: SiteWord | None) -> bool:
        """Whether the site is known to run nothing of a workload that is ordered there no more."""
        plan = self.plans.get(site)
        if plan is None:
            return True
        if plan.is_dirty or not plan.echoed or word is None:
            return False
        middle = f"/{key[0]}/{key[1]}/"
        return not any(middle in f"/{order_id}" for order_id in word.orders)

    def open(self) -> None:
        """Every plan is complete: indexes may go out from now on."""
        self.is_open = True
        self._event.set()

    def start_epoch(self, epoch: int) -> None:
        """A new epoch: every index is published anew, under a version above all before."""
        self.epoch = epoch
        for plan in self.plans.values():
            plan.version, plan.is_dirty, plan.echoed = None, True, False
            plan.hold_until_seconds = 0.0
            plan.listed.clear()
        self._event.set()

    def repeat_all(self) -> None:
        """The broker may have forgotten all: every index goes out again, contents if asked."""
        for plan in self.plans.values():
            plan.is_dirty = plan.is_dirty or plan.version is not None
        self._event.set()

    async def run(self) -> None:
        """Publishes what changed; runs until cancelled."""
        while True:
            await self._event.wait()
            await self.clock.sleep(_GATHER_SECONDS)
            self._event.clear()
            self.flush()

    def flush(self) -> None:
        """Publishes every changed plan of a site that was heard: contents first, then the index."""
        if not self.is_open or not self.epoch:
            return
        for site, plan in self.plans.items():
            if plan.is_dirty and plan.heard and not self._is_held(plan):
                self._publish(site, plan)

    def _is_held(self, plan: SitePlan) -> bool:
        """Whether the site runs what we do not know (yet), so that an index would withdraw it."""
        unknown = plan.strange - plan.orders.keys()
        return bool(unknown) and plan.version is None and self._now() < plan.hold_until_seconds

    def _now(self) -> float:
        return self.clock.monotonic()

    def _publish(self, site: str, plan: SitePlan) -> None:
        version = (self.epoch, plan.version[1] + 1 if plan.version else 1)
        for order_id, order in plan.orders.items():
            if order_id not in plan.digests:
                plan.digests[order_id] = self.speaker.publish_order(site, order)
                self.telemetry.order_published()
            plan.listed.setdefault(order_id, version)
        plan.version = version
        plan.digest = self.speaker.publish_index(site, plan.uid, plan.version, plan.orders)
        plan.is_dirty, plan.echoed, plan.sent_seconds = False, False, self.clock.monotonic()
        self.telemetry.index_published()
        for order_id in plan.gone:
            self.speaker.withdraw_content(site, order_id)
        plan.gone.clear()

    def _repeat_content(self, site: str, plan: SitePlan, order_id: str) -> None:
        order = plan.orders.get(order_id)
        if order is None or not self._is_due(plan.repeated.get(order_id, float("-inf"))):
            return
        plan.repeated[order_id] = self.clock.monotonic()
        plan.digests[order_id] = self.speaker.publish_order(site, order)
        self.telemetry.order_published()

    def _remove(self, site: str, order_id: str) -> None:
        plan = self.plans[site]
        del plan.orders[order_id]
        plan.digests.pop(order_id, None)
        plan.listed.pop(order_id, None)
        plan.repeated.pop(order_id, None)
        plan.gone.add(order_id)
        plan.is_dirty = True
        self._event.set()

    def _is_due(self, since_seconds: float) -> bool:
        return self.clock.monotonic() - since_seconds >= self.repeat_seconds


def _is_of(order: OrderForSite, key: WorkKey) -> bool:
    return (order.namespace, order.name) == key
