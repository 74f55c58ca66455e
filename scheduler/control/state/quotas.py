"""What each placed workload takes of its tenant's quota, and of its budget if there is one."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from math import fsum

from scheduler.model.demand.demand import Demand
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.tenant import Spend

CostFunction = Callable[[Demand, Mapping[str, int]], Spend]
"""What replicas by site cost an hour now."""


@dataclass(slots=True)
class Quotas:
    """Sums of requests: millicores for cpu, whole units for all else.

    Attributes:
        was_freed: something was given back since this was last looked at.
        changed_namespaces: namespaces whose sums changed since this was last looked at.
        totals: by namespace; sums of whole numbers, so that taking back leaves nothing behind.
        cost_of: asked only for work of tenants that have a budget.
    """

    cost_of: CostFunction = lambda _demand, _shares: Spend()

    was_freed: bool = False
    changed_namespaces: set[str] = field(default_factory=set)
    totals: dict[str, Counter[str]] = field(default_factory=dict)
    _usage_of: dict[WorkKey, Mapping[str, int]] = field(default_factory=dict)
    _spend_of: dict[WorkKey, Spend] = field(default_factory=dict)

    def set_usage(self, key: WorkKey, demand: Demand, shares: Mapping[str, int]) -> None:
        """A workload holds so many replicas by site now."""
        held = {site: count for site, count in shares.items() if count}
        fresh = demand.quota_usage(sum(held.values()), len(held)) if held else {}
        self._set_spend(key, self.cost_of(demand, held) if demand.budget_left and held else None)
        before = self._usage_of.get(key, {})
        if fresh == before:
            return
        self.was_freed |= any(amount > fresh.get(name, 0) for name, amount in before.items())
        self._update_totals(key[0], before, fresh)
        self._usage_of[key] = fresh

    def release(self, key: WorkKey) -> None:
        """The workload is gone."""
        before = self._usage_of.pop(key, {})
        self.was_freed |= bool(before)
        self._set_spend(key, None)
        self._update_totals(key[0], before, {})

    def used_by(self, namespaces: Collection[str], *, excluding: WorkKey) -> dict[str, int]:
        """What all other workloads of these namespaces take."""
        total: Counter[str] = Counter()
        for namespace in namespaces:
            total.update(self.totals.get(namespace, {}))
        if excluding[0] in namespaces:
            total.subtract(self._usage_of.get(excluding, {}))
        return dict(total)

    def spent_by(self, namespaces: Collection[str], *, excluding: WorkKey) -> Spend:
        """What all other workloads of these namespaces cost, each as of when it was looked at."""
        found = [
            each
            for key, each in sorted(self._spend_of.items())
            if key != excluding and key[0] in namespaces
        ]
        return Spend(
            cny_per_hour=fsum(each.cny_per_hour for each in found),
            gco2_per_hour=fsum(each.gco2_per_hour for each in found),
        )

    def _set_spend(self, key: WorkKey, spend: Spend | None) -> None:
        before = self._spend_of.pop(key, None)
        if spend is not None:
            self._spend_of[key] = spend
        if before is not None and (
            spend is None
            or spend.cny_per_hour < before.cny_per_hour
            or spend.gco2_per_hour < before.gco2_per_hour
        ):
            self.was_freed = True

    def _update_totals(
        self, namespace: str, before: Mapping[str, int], after: Mapping[str, int]
    ) -> None:
        total = self.totals.setdefault(namespace, Counter())
        total.subtract(before)
        total.update(after)
        self.changed_namespaces.add(namespace)
        if not any(total.values()):
            del self.totals[namespace]
