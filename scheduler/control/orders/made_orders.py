"""Remembers the orders that were made of a workload.

A reconciliation makes them for the digests in the status, and again when the status is written; the
next one, when they run, makes the same ones.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, NamedTuple

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


NO_ORDERS: Final[Mapping[str, OrderForSite]] = MappingProxyType({})


class _OrderOfShare(NamedTuple):
    """What the order of a site takes from its share (fields as in `SiteShare`), and overrides."""

    generation: int
    ordered: int
    is_parked: bool
    is_withdrawing: bool
    completions: int | None
    ordinals: SiteOrdinals | None
    pin: NodePin | None
    adaptation: Adaptation | None


class _OrderOfSite(NamedTuple):
    """The order of a site, what of its share it was made of, and the order before if it counts."""

    taken: _OrderOfShare
    former: OrderForSite | None
    order: OrderForSite


class _Made(NamedTuple):
    """Orders by site, and all that they were made of but their shares."""

    spec: WorkloadSpec
    tenant: Tenant | None
    order_id: str
    identity: Identity | None
    not_sent: tuple[str, ...]
    orders: dict[str, _OrderOfSite]


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
        *,
        current_orders: Mapping[str, OrderForSite] = NO_ORDERS,
    ) -> dict[str, OrderForSite]:
        """As `build.orders_of`, with content.

        A step of a move changes the shares of some sites, so each site's order is remembered by
        itself. Only the sites of overrides depend on each other, by a limit of all their forms.
        """
        known = self._base_of(key, workload, order_id, tenant)
        wanted: dict[str, tuple[_OrderOfShare, OrderForSite | None]] = {
            site: (
                _OrderOfShare(
                    one.generation,
                    one.ordered,
                    one.is_parked,
                    one.is_withdrawing,
                    one.completions,
                    one.ordinals,
                    one.pin,
                    adaptations.get(site),
                ),
                current_orders.get(site) if one.is_withdrawing else None,
            )
            for site, one in shares.items()
        }
        changed = {
            site
            for site, (taken, former) in wanted.items()
            if (held := known.orders.get(site)) is None
            or held.former is not former
            or held.taken != taken
        }
        if adaptations and (changed or known.orders.keys() != wanted.keys()):
            changed = set(wanted)
        if changed:
            made = orders_of(
                workload,
                order_id,
                {site: one for site, one in shares.items() if site in changed},
                tenant,
                current_orders,
                adaptations=adaptations,
            )
            for site, one in made.items():
                # Packed once here, so that keeping and comparing them encodes nothing.
                manifests = pack_manifests(one.manifests)
                packed = one if manifests is one.manifests else replace(one, manifests=manifests)
                taken, former = wanted[site]
                known.orders[site] = _OrderOfSite(taken, former, packed)
        for site in known.orders.keys() - wanted.keys():
            del known.orders[site]
        return {site: known.orders[site].order for site in shares}

    def _base_of(
        self, key: WorkKey, workload: Workload, order_id: str, tenant: Tenant | None
    ) -> _Made:
        """What is remembered of a workload, without orders if these were made of something else."""
        identity, at_sites = workload.status.placement.identity, not_sent(workload, tenant)
        known = self._made.get(key)
        if (
            known is None
            or known.spec is not workload.spec
            or known.tenant is not tenant
            or known[2:5] != (order_id, identity, at_sites)
        ):
            known = _Made(workload.spec, tenant, order_id, identity, at_sites, {})
            self._made[key] = known
        self._made.move_to_end(key)
        while len(self._made) > _MAX_REMEMBERED:
            self._made.popitem(last=False)
        return known

    def forget(self, key: WorkKey) -> None:
        """Drops what is remembered of a workload that is gone."""
        self._made.pop(key, None)
