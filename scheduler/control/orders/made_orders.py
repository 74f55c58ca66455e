"""Remembers the orders that were made of a workload.

A reconciliation makes them for the digests in the status, and again when the status is written; the
next one, when they run, makes the same ones.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from scheduler.control.orders.build import NOTHING_ADAPTED, not_sent, orders_of
from scheduler.control.ports.agents import OrderForSite
from scheduler.control.status.migration import SiteShare
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.policy import Identity
from scheduler.model.kinds.tenant import Tenant
from scheduler.model.kinds.workload import NodePin, SiteOrdinals, Workload, WorkloadSpec
from scheduler.model.overrides.apply import Adaptation
from scheduler.model.packed_manifests import pack_manifests

_MAX_REMEMBERED = 4096
"""Enough for what is between its decision and its first running replica. Each holds the manifests
that the plan of its site holds too."""


class _OrderOfShare(NamedTuple):
    """What the order of a site takes from its share (fields as in `SiteShare`), and its site."""

    site: str
    generation: int
    ordered: int
    is_parked: bool
    completions: int | None
    ordinals: SiteOrdinals | None
    pin: NodePin | None
    adaptation: Adaptation | None


class _Made(NamedTuple):
    """Orders, and all that they were made of."""

    spec: WorkloadSpec
    tenant: Tenant | None
    order_id: str
    identity: Identity | None
    not_sent: tuple[str, ...]
    shares: tuple[_OrderOfShare, ...]
    orders: dict[str, OrderForSite]


@dataclass(slots=True)
class MadeOrders:
    """The orders of workloads, for as long as nothing changes that they are made of."""

    _made: OrderedDict[WorkKey, _Made] = field(default_factory=OrderedDict)

    def orders_of(  # noqa: PLR0917 - the arguments of `build.orders_of`
        self,
        key: WorkKey,
        workload: Workload,
        order_id: str,
        shares: Mapping[str, SiteShare],
        tenant: Tenant | None,
        adaptations: Mapping[str, Adaptation] = NOTHING_ADAPTED,
    ) -> dict[str, OrderForSite]:
        """As `build.orders_of`, with content, for shares of which some replicas stay everywhere."""
        identity, at_sites = workload.status.placement.identity, not_sent(workload, tenant)
        taken = tuple(
            _OrderOfShare(
                site,
                one.generation,
                one.ordered,
                one.is_parked,
                one.completions,
                one.ordinals,
                one.pin,
                adaptations.get(site),
            )
            for site, one in shares.items()
        )
        known = self._made.get(key)
        if (
            known is None
            or known.spec is not workload.spec
            or known.tenant is not tenant
            or known[2:6] != (order_id, identity, at_sites, taken)
        ):
            made = orders_of(workload, order_id, shares, tenant, {}, adaptations=adaptations)
            # Packed once here, so that keeping and comparing them encodes nothing.
            orders = {
                site: replace(one, manifests=pack_manifests(one.manifests))
                for site, one in made.items()
            }
            known = _Made(workload.spec, tenant, order_id, identity, at_sites, taken, orders)
            self._made[key] = known
        self._made.move_to_end(key)
        while len(self._made) > _MAX_REMEMBERED:
            self._made.popitem(last=False)
        return known.orders.copy()

    def forget(self, key: WorkKey) -> None:
        """Drops what is remembered of a workload that is gone."""
        self._made.pop(key, None)
