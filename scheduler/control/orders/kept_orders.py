"""What a new leader plans of unchanged workloads, made of their statuses alone.

A scheduler that stands by makes it as the workloads change, so that little is left to do when it
takes over. One that leads from its start does so while it lists them and waits for the sites. It
counts only for the very object that it was made of.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice

from scheduler.control.orders.build import kept_order_of, ordered_of
from scheduler.control.orders.identity import format_order_id
from scheduler.control.ports.agents import OrderForSite
from scheduler.control.state.node_label_keys import keys_of
from scheduler.control.state.objects import HubObjects
from scheduler.control.status import workload as statuses
from scheduler.control.status.accepted import AcceptedDamaged, unpack_accepted_demand
from scheduler.control.status.migration import SiteShare
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import OrderGeneration
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload
from scheduler.runtime.clock import Clock, yield_loop
from scheduler.runtime.faults import Faults

_MADE_AT_ONCE = 20
_GATHER_SECONDS = 0.5  # changes of one workload that follow each other are taken in once


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptOrders:
    """The orders of a workload as its sites have them, and what they use.

    Attributes:
        workload: what it was made of.
        order_id: the id of the orders.
        shares: by site.
        orders: by site, each by its digest.
        ordered: what each uses until a report shows it, by site.
        amounts: what all of them use of the tenant's quota.
        label_keys: names of the node labels that the demand asks for.
        unit_pods: pods of one replica.
        pods_beside: pods that come once with each site.
        has_daemons: there are pods on every node, so that usage depends on the fleet.
    """

    workload: Workload
    order_id: str
    shares: Mapping[str, SiteShare]
    orders: Mapping[str, OrderForSite]
    ordered: Mapping[str, OrderGeneration]
    amounts: Mapping[str, int]
    label_keys: frozenset[str]
    unit_pods: int
    pods_beside: int
    has_daemons: bool

    @property
    def replicas(self) -> dict[str, int]:
        """The replicas that count against the quota, by site; those that are leaving do not."""
        return {site: one.replicas for site, one in self.shares.items() if not one.is_parked}


def make_kept_orders(hub_id: str, key: WorkKey, workload: Workload) -> KeptOrders | None:
    """What a new leader plans of a workload; None: its status does not say that in full.

    It says so with what was accepted and the digest of each site's order.
    """
    status = workload.status
    if not status.incarnation or not status.placement.groups:
        return None
    if status.placement.identity == "Whole":  # what may start depends on the sites
        return None
    demand = demand_in_status(workload)
    if demand is None:
        return None
    shares = statuses.shares_of(status)
    if status.former_accepted is not None:  # two contents, and what each uses
        return None
    order_id, orders = format_order_id(hub_id, key, status.incarnation), dict[str, OrderForSite]()
    for site, share in shares.items():
        kept = kept_order_of(workload, order_id, site, share)
        if kept is None:
            return None
        orders[site] = kept
    held = [one.replicas for one in shares.values() if not one.is_parked and one.replicas]
    return KeptOrders(
        workload=workload,
        order_id=order_id,
        shares=shares,
        orders=orders,
        ordered={site: ordered_of(demand, share) for site, share in shares.items()},
        amounts=demand.quota_usage(sum(held), len(held)) if held else {},
        label_keys=frozenset(keys_of(demand)),
        unit_pods=sum(one.count for one in demand.unit),
        pods_beside=sum(one.count for one in demand.beside),
        has_daemons=bool(demand.per_node),
    )


def demand_in_status(workload: Workload) -> Demand | None:
    """The demand that a status has as accepted; None: it has none that can be read.

    Nothing of it is kept, and the spec beside it is not decoded.
    """
    reference = workload.status.accepted
    if reference is None or not reference.content:
        return None
    try:
        return unpack_accepted_demand(reference.digest, reference.content)
    except AcceptedDamaged:
        return None  # `AcceptedSpecs.problem_of` says why


@dataclass(slots=True, kw_only=True)
class PreparedOrders:
    """Keeps what a new leader would plan, until this scheduler decides as one.

    Attributes:
        hub_id: names this hub in order ids.
        objects: the hub's objects.
        clock: for gathering changes.
        faults: handles what fails for one workload.
        may_prepare: whether this scheduler stands by, or does not decide yet.
    """

    hub_id: str
    objects: HubObjects
    clock: Clock
    faults: Faults
    may_prepare: Callable[[], bool] = lambda: True
    _made: dict[WorkKey, KeptOrders] = field(default_factory=dict)
    _changed: dict[WorkKey, None] = field(default_factory=dict)
    _has_changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __len__(self) -> int:
        return len(self._made)

    def note_change(self, key: WorkKey) -> None:
        """Notes that a workload is new, changed or gone."""
        self._made.pop(key, None)
        self._changed[key] = None
        self._has_changed.set()

    def take(self, key: WorkKey, workload: Workload) -> KeptOrders | None:
        """What is planned of a workload; made now, if it was not made of this very object."""
        made = self._made.pop(key, None)
        self._changed.pop(key, None)
        if made is not None and made.workload is workload:
            return made
        return make_kept_orders(self.hub_id, key, workload)

    def clear(self) -> None:
        """Drops all: it was planned."""
        self._made.clear()
        self._changed.clear()

    async def run(self) -> None:
        """Prepares what has changed, a few workloads at a time; runs until cancelled."""
        while True:
            await self._has_changed.wait()
            await self.clock.sleep(_GATHER_SECONDS)
            self._has_changed.clear()
            while self._changed and self.may_prepare():
                for key in list(islice(self._changed, _MADE_AT_ONCE)):
                    self._prepare(key)
                await yield_loop()

    def _prepare(self, key: WorkKey) -> None:
        self._changed.pop(key, None)
        workload, made = self.objects.workloads.get(key), None
        if workload is None:
            return
        with self.faults.barrier("workload"):
            made = make_kept_orders(self.hub_id, key, workload)
        if made is not None:
            self._made[key] = made
