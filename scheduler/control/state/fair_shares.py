"""The weighted dominant share of each tenant, by which the queue orders work of equal priority.

Dominant resource fairness (Ghodsi et al., NSDI 2011): the share of a tenant is the largest of its
shares of single resources. A tenant with a quota is measured against its quota. A tenant without
one may use the whole fleet, so the fleet is its quota: what all sites have free plus what the
placed work of all tenants uses. A namespace of no tenant is measured like a tenant without quota.
So a tenant does not come first only because it has no limit.

Of teams of one bureau, the bureau's share counts first, with what all its teams use, and between
its teams their own: a bureau gets no more by having many teams.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import floor

import numpy as np

from scheduler.control.state.objects import HubObjects
from scheduler.control.state.quotas import Quotas
from scheduler.model.kinds.tenant import Tenant
from scheduler.model.quantities import GPU_CARDS, GPU_MILLI, NotAQuantity, requests_of
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.node_table import NodeTable
from scheduler.placement.fleet.nodes.columns import CARDS_COLUMN
from scheduler.placement.queue.order import dominant_share
from scheduler.runtime.clock import Clock

_RESUM_INTERVAL_SECONDS = 10.0
_NAMESPACE_PREFIX = "namespace/"
_STEP = 1e-6
"""Shares of bureaus that differ by less count as equal; then those of their teams decide."""


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
            changed = self.owner_of(namespace)
            self._cached.pop(changed, None)
            if changed in self.objects.tenants:
                for one in self.objects.tenant_tree.members_of(
                    self.objects.tenant_tree.root_of(changed)
                ):
                    self._cached.pop(one, None)
        if self.clock.monotonic() - self._summed_seconds >= _RESUM_INTERVAL_SECONDS:
            self._cached.clear()
            self._sum_fleet_capacity()
        known = self._cached.get(owner)
        if known is None:
            known = self._cached[owner] = self._compute_share(owner)
        return known

    def _compute_share(self, owner: str) -> float:
        tenant, tree = self.objects.tenants.get(owner), self.objects.tenant_tree
        if tenant is None:
            return dominant_share(
                self._usage_of([owner.removeprefix(_NAMESPACE_PREFIX)]), self._fleet_capacity
            )
        root = tree.root_of(owner)
        members = tree.members_of(root)
        if len(members) == 1:
            return self._share_of(tenant, tenant.spec.namespaces)
        everywhere = [each for one in members for each in tree.tenants[one].spec.namespaces]
        bureau = self._share_of(tree.tenants[root], everywhere)
        within = self._share_of(tenant, tenant.spec.namespaces)
        # Ordered by the bureau's share in steps, and within a step by the team's own.
        return (floor(bureau / _STEP) + within / (1.0 + within)) * _STEP

    def dominant_share_of(self, name: str) -> float:
        """The dominant share of a tenant by its quota and weight; of a bureau with its teams."""
        tenant, tree = self.objects.tenants[name], self.objects.tenant_tree
        members = tree.members_of(name) if tree.root_of(name) == name else (name,)
        if self.clock.monotonic() - self._summed_seconds >= _RESUM_INTERVAL_SECONDS:
            self._cached.clear()
            self._sum_fleet_capacity()
        everywhere = [each for one in members for each in tree.tenants[one].spec.namespaces]
        return self._share_of(tenant, everywhere)

    def _share_of(self, tenant: Tenant, namespaces: Iterable[str]) -> float:
        spec = tenant.spec
        try:
            quota = requests_of(spec.quota) if spec.quota else self._fleet_capacity
        except NotAQuantity:  # its workloads are refused, so the share matters little
            quota = self._fleet_capacity
        return dominant_share(self._usage_of(namespaces), quota, weight=spec.weight)

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
