"""The weighted dominant share of each tenant, by which the queue orders work of equal priority.

Dominant resource fairness (Ghodsi et al., NSDI 2011): the share of a tenant is the largest of its
shares of single resources. A tenant with a quota is measured against its quota. A tenant without
one may use the whole fleet, so the fleet is its quota: what all sites have free plus what the
placed work of all tenants uses. A namespace of no tenant is measured like a tenant without quota.
So a tenant does not come first only because it has no limit.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from scheduler.control.state.objects import HubObjects
from scheduler.control.state.quotas import Quotas
from scheduler.model.quantities import GPU_CARDS, GPU_MILLI, NotAQuantity, requests_of
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.node_table import NodeTable
from scheduler.placement.fleet.nodes.columns import CARDS_COLUMN
from scheduler.placement.queue.order import dominant_share
from scheduler.runtime.clock import Clock

_RESUM_INTERVAL_SECONDS = 10.0
_NAMESPACE_PREFIX = "namespace/"


@dataclass(slots=True, kw_only=True)
class FairShares:
    """Caches each share until the usage or the quota of its tenant changes.

    Attributes:
        objects: tenants and their quotas.
        quotas: what placed work uses.
        fleet: what sites have free.
        clock: limits how often the fleet is summed up.
    """

    objects: HubObjects
    quotas: Quotas
    fleet: Fleet
    clock: Clock
    _cached: dict[str, float] = field(default_factory=dict)
    _fleet_capacity: dict[str, int] = field(default_factory=dict)
    _summed_seconds: float = float("-inf")

    def owner_of(self, namespace: str) -> str:
        """The owner of work in a namespace: the name of its tenant, or the namespace itself."""
        tenant = self.objects.tenant_of(namespace)
        return tenant.metadata.name if tenant else _NAMESPACE_PREFIX + namespace

    def invalidate(self) -> None:
        """Drops all cached shares, because the spec of a tenant changed."""
        self._cached.clear()

    def share(self, owner: str) -> float:
        """The weighted dominant share of an owner, as `owner_of` names it; 0 for no usage."""
        for namespace in self.quotas.take_changed_namespaces():
            self._cached.pop(self.owner_of(namespace), None)
        if self.clock.monotonic() - self._summed_seconds >= _RESUM_INTERVAL_SECONDS:
            self._cached.clear()
            self._sum_fleet_capacity()
        known = self._cached.get(owner)
        if known is None:
            known = self._cached[owner] = self._compute_share(owner)
        return known

    def _compute_share(self, owner: str) -> float:
        tenant = self.objects.tenants.get(owner)
        if tenant is None:
            return dominant_share(
                self._usage_of([owner.removeprefix(_NAMESPACE_PREFIX)]), self._fleet_capacity
            )
        spec = tenant.spec
        try:
            quota = requests_of(spec.quota) if spec.quota else self._fleet_capacity
        except NotAQuantity:  # its workloads are refused, so the share matters little
            quota = self._fleet_capacity
        return dominant_share(self._usage_of(spec.namespaces), quota, weight=spec.weight)

    def _usage_of(self, namespaces: Iterable[str]) -> Counter[str]:
        total: Counter[str] = Counter()
        for namespace in namespaces:
            total.update(self.quotas.totals.get(namespace, {}))
        return total

    def _sum_fleet_capacity(self) -> None:
        """Sums up what sites have free and what placed work uses, of each resource in use."""
        taken: Counter[str] = Counter()
        for each in self.quotas.totals.values():
            taken.update(each)
        rows = self.fleet.nodes.rows
        # The columns come first: one that appears may replace the rows' matrix.
        columns = {name: _column_of(self.fleet.nodes, name) for name in taken}
        slots = np.array(sorted(self.fleet.slot_of.values()), np.int64)
        index = rows.row_indices(slots)
        nodes = self.fleet.nodes.node_counts(index)
        self._fleet_capacity = {
            name: amount
            + int(rows.sum_by_site(slots, rows.matrix[columns[name]].take(index) * nodes).sum())
            for name, amount in taken.items()
            if name != GPU_CARDS  # the same cards count as thousandths already
        }
        self._summed_seconds = self.clock.monotonic()


def _column_of(nodes: NodeTable, name: str) -> int:
    """The column of the fleet's node table that holds the free amount of a resource."""
    return CARDS_COLUMN if name == GPU_MILLI else nodes.column_number(name)
