"""How much of what it may use each tenant uses: its weighted dominant share, for the queue's order.

A tenant with a quota is measured by its quota. One without may use the whole fleet, so the fleet is
its quota: what all sites have free, and what the placed work of all tenants takes. A namespace that
belongs to no tenant is measured like a tenant without quota, by itself. So nobody counts as modest
for want of a limit.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from scheduler.control.state.objects import HubObjects
from scheduler.control.state.quotas import Quotas
from scheduler.model.quantities import GPU_CARDS, GPU_MILLI, NotAQuantity, requests_of
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.node_table import CARDS_COLUMN
from scheduler.placement.fleet.ragged import RaggedTable
from scheduler.placement.queue.order import dominant_share
from scheduler.runtime.clock import Clock

_RESUM_INTERVAL_SECONDS = 10.0
_NAMESPACE_PREFIX = "namespace/"


@dataclass(slots=True)
class FairShares:
    """Remembers every share until its tenant's usage or quota changes.

    Attributes:
        objects: tenants and their quotas.
        quotas: what placed work takes.
        fleet: what sites have free.
        clock: for summing the fleet up now and then only.
    """

    objects: HubObjects
    quotas: Quotas
    fleet: Fleet
    clock: Clock
    _cached: dict[str, float] = field(default_factory=dict)
    _fleet_capacity: dict[str, int] = field(default_factory=dict)
    _summed_seconds: float = float("-inf")

    def owner_of(self, namespace: str) -> str:
        """Whose share counts for work in a namespace."""
        tenant = self.objects.tenant_of(namespace)
        return tenant.metadata.name if tenant else _NAMESPACE_PREFIX + namespace

    def invalidate(self) -> None:
        """A tenant's quota, weight or namespaces may be others now."""
        self._cached.clear()

    def share(self, owner: str) -> float:
        """The share of an owner, as `owner_of` names him."""
        for namespace in self.quotas.changed_namespaces:
            self._cached.pop(self.owner_of(namespace), None)
        self.quotas.changed_namespaces.clear()
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
        except NotAQuantity:  # its workloads are told, and nothing is placed
            quota = self._fleet_capacity
        return dominant_share(self._usage_of(spec.namespaces), quota, weight=spec.weight)

    def _usage_of(self, namespaces: Iterable[str]) -> Counter[str]:
        total: Counter[str] = Counter()
        for namespace in namespaces:
            total.update(self.quotas.totals.get(namespace, {}))
        return total

    def _sum_fleet_capacity(self) -> None:
        """What all sites have free, and what placed work takes, of each resource in use."""
        taken: Counter[str] = Counter()
        for each in self.quotas.totals.values():
            taken.update(each)
        rows = self.fleet.nodes.rows
        slots = np.array(sorted(self.fleet.slot_of.values()), np.int64)
        index = rows.row_indices(slots)
        nodes = self.fleet.nodes.node_counts(index)
        self._fleet_capacity = {
            name: amount
            + int(
                rows.sum_by_site(
                    slots, rows.matrix[_column_of(rows, name)].take(index) * nodes
                ).sum()
            )
            for name, amount in taken.items()
            if name != GPU_CARDS  # the same cards as their thousandths
        }
        self._summed_seconds = self.clock.monotonic()


def _column_of(rows: RaggedTable, name: str) -> int:
    """Where the fleet keeps what is free of a resource."""
    return CARDS_COLUMN if name == GPU_MILLI else rows.column_number(name)
