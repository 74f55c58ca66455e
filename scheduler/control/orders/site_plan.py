"""What one site is to run, and what of it is published and confirmed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from scheduler.control.orders.delta_use import DeltaUse
from scheduler.control.orders.waits import OrderWait
from scheduler.control.ports.agents import IndexVersion, OrderForSite, OrderStatusReport
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.packed_manifests import pack_manifests

_NO_ROOM = "the site's index is full; place the workload elsewhere, or withdraw others there"


@dataclass(slots=True)
class SitePlan:
    """What one site is to run, and what of it is published and confirmed.

    Attributes:
        uid: the uid of the Site object.
        orders: the orders, by order id.
        content_digests: digests of the published contents, by order id.
        listed_digests: what `Workload.status` says of an order's content, with the order that it is
            about in little memory, by order id.
        published: ids of the orders of which some content is published, be it an older one.
        refusals: why the present content of an order cannot be published, by order id.
        waits: what the present content of an order waits for, by order id.
        listed: ids of the orders in the newest index; before the first one of this epoch, of those
            that the site reports.
        left_out: ids of published orders for which the index has no room.
        first_listed_in: the first index that binds an order to its content, by order id.
        version: version of the newest published index; None before the first one of this epoch.
        index_digest: digest of that index.
        is_echoed: the site works by that index.
        has_reported: the site has reported in this epoch.
        is_dirty: `orders` has changed since the newest index.
        sent_seconds: monotonic time at which the index was published last.
        asked_seconds: when the site was last asked which index it works by.
        content_sent_seconds: when a content was repeated last, by order id.
        kept_wanted: orders that are planned by their digest alone, of which the site wants the
            content.
        unknown_orders: order ids in the site's first report of this epoch that the plan lacked.
        hold_until_seconds: until then the first index waits for these orders to become known.
        unrestored: workloads with orders here that could not be planned. No index is published
            until they are: one without their orders would withdraw what runs.
        foreign_index: the index that the site works by, if we did not publish it and it is not
            older than ours; None: there is none.
        foreign_since: when that was seen first.
        contents_to_clear: orders whose retained content is cleared with the next index, which no
            longer lists them.
        purges: the orders of which the site is to delete the claims too, by workload.
        delta_use: whether the site gets deltas of its index.
        ids_by_key: ids of the orders of each workload; more than one while its name had others.
    """

    uid: str = ""
    orders: dict[str, OrderForSite] = field(default_factory=dict)
    content_digests: dict[str, str] = field(default_factory=dict)
    listed_digests: dict[str, tuple[OrderForSite, str]] = field(default_factory=dict)
    published: set[str] = field(default_factory=set)
    refusals: dict[str, str] = field(default_factory=dict)
    waits: dict[str, OrderWait] = field(default_factory=dict)
    listed: frozenset[str] = frozenset()
    left_out: frozenset[str] = frozenset()
    first_listed_in: dict[str, IndexVersion] = field(default_factory=dict)
    version: IndexVersion | None = None
    index_digest: str = ""
    is_echoed: bool = False
    has_reported: bool = False
    is_dirty: bool = True
    sent_seconds: float = float("-inf")
    asked_seconds: float = float("-inf")
    content_sent_seconds: dict[str, float] = field(default_factory=dict)
    contents_to_clear: set[str] = field(default_factory=set)
    kept_wanted: set[str] = field(default_factory=set)
    unknown_orders: frozenset[str] = frozenset()
    hold_until_seconds: float = 0.0
    unrestored: set[WorkKey] = field(default_factory=set)
    purges: dict[WorkKey, frozenset[str]] = field(default_factory=dict)
    delta_use: DeltaUse = field(default_factory=DeltaUse)
    ids_by_key: dict[WorkKey, set[str]] = field(default_factory=dict)

    foreign_index: IndexVersion | None = None
    foreign_since: datetime | None = None

    @property
    def purge(self) -> frozenset[str]:
        """Ids of unlisted orders of which the claims go too."""
        return frozenset().union(*self.purges.values()) - self.orders.keys()

    def set_order(self, order: OrderForSite) -> bool:
        """Sets an order; returns whether that changes the plan."""
        if self.orders.get(order.id) == order:
            return False
        known = self.listed_digests.get(order.id)
        if known is not None and known[0] == order:
            order = known[0]  # one copy of it
        elif (manifests := pack_manifests(order.manifests)) is not order.manifests:
            order = replace(order, manifests=manifests)
        self.orders[order.id] = order
        self.ids_by_key.setdefault((order.namespace, order.name), set()).add(order.id)
        self.content_digests.pop(order.id, None)
        self.refusals.pop(order.id, None)
        self.waits.pop(order.id, None)
        self.first_listed_in.pop(order.id, None)
        self.contents_to_clear.discard(order.id)
        return True

    def remove_order(self, order_id: str) -> None:
        """Removes an order."""
        order = self.orders.pop(order_id)
        key = (order.namespace, order.name)
        self.ids_by_key[key].discard(order_id)
        if not self.ids_by_key[key]:
            del self.ids_by_key[key]
        self.content_digests.pop(order_id, None)
        self.refusals.pop(order_id, None)
        self.waits.pop(order_id, None)
        self.published.discard(order_id)
        self.listed_digests.pop(order_id, None)
        self.first_listed_in.pop(order_id, None)
        self.content_sent_seconds.pop(order_id, None)
        self.contents_to_clear.add(order_id)

    def renew_order(self, order_id: str) -> None:
        """Has the content of an order made and published again."""
        for known in (self.content_digests, self.refusals, self.waits, self.listed_digests):
            known.pop(order_id, None)
        self.first_listed_in.pop(order_id, None)

    def unpublished(self) -> list[OrderForSite]:
        """The orders of which the present content was not published yet, and may be."""
        ids = self.orders.keys() - self.content_digests.keys() - self.refusals.keys()
        return [self.orders[order_id] for order_id in sorted(ids - self.waits.keys())]

    def start_epoch(self) -> None:
        """Begins with no index of this epoch."""
        self.version, self.is_dirty, self.is_echoed = None, True, False
        self.hold_until_seconds = 0.0
        self.first_listed_in.clear()
        self.delta_use.start_again()

    def republish(self) -> None:
        """Has the whole index published again, because the broker may have lost it.

        It may also have what was cleared: contents of orders that are over are cleared again.
        """
        for order_id, order in self.orders.items():
            if order.is_over:
                self.content_digests.pop(order_id, None)
        self.is_dirty = self.is_dirty or self.version is not None
        self.delta_use.start_again()

    def refusal_of(self, order_id: str) -> str:
        """Why the present content of an order is not sent; "" when it is."""
        return self.refusals.get(order_id, _NO_ROOM if order_id in self.left_out else "")

    def orders_to_list(self, count_that_fit: Callable[[Sequence[str]], int]) -> list[str]:
        """Ids of the published orders that one index has room for; `left_out` gets the others.

        If there is not room for all, those that it listed before go first.

        Args:
            count_that_fit: how many of these ids one index can list, from the first on.
        """
        ids = sorted(self.orders.keys() & self.published)
        room = count_that_fit(ids)
        if room < len(ids):
            ids.sort(key=lambda one: one not in self.listed)
            room = count_that_fit(ids)
        self.left_out = frozenset(ids[room:])
        return ids[:room]

    def note_foreign_index(
        self, report: OrderStatusReport, newest: IndexVersion, now: datetime
    ) -> None:
        """Notes an index that is not ours and that ours would not replace.

        Every index before ours has a lower version, so a higher one, or the same one with another
        digest, is of another hub with our key, or of this one before it was restored.

        Args:
            report: what the site reports.
            newest: version of our newest index to any site.
            now: when it came.
        """
        version = report.version
        is_other = version == self.version and report.digest != self.index_digest
        if version is None or not (version > newest or is_other):
            self.foreign_index = self.foreign_since = None
        else:
            self.foreign_index, self.foreign_since = version, self.foreign_since or now

    def foreign_index_condition(self, newest: IndexVersion) -> Condition | None:
        """The condition ForeignIndex of the site; None when it works by an index of ours.

        Args:
            newest: version of our newest index to any site.
        """
        if self.foreign_index is None:
            return None
        (epoch, sequence), (our_epoch, our_sequence) = self.foreign_index, newest
        return Condition(
            type="ForeignIndex",
            status="True",
            reason="NotPublishedHere",
            message=f"the site works by index {epoch}/{sequence}, which this hub did not publish;"
            f" ours are at {our_epoch}/{our_sequence}, and the site refuses them. Another hub has"
            " the same key, or this one was restored: stop the other, or see `kapok hub adopt`",
            last_transition_time=self.foreign_since,
        )
