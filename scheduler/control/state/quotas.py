"""What each placed workload uses of its tenant's quota, and of the budget if there is one."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from math import fsum

from scheduler.energy.budgets import TenantMonth
from scheduler.model.demand.demand import Demand
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.tenant import Spend

CostFunction = Callable[[Demand, Mapping[str, int]], Spend]
"""(demand, replicas by site) → what these replicas cost an hour now."""

DaemonPodsFunction = Callable[[Demand, Iterable[str]], tuple[int, ...]]
"""(demand, sites) → how many pods each of its DaemonSets has there."""


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """What one workload uses of its tenant's quota and budget.

    Attributes:
        amounts: by resource.
        spend: what it costs an hour; None for a tenant without a budget.
    """

    amounts: Mapping[str, int]
    spend: Spend | None


@dataclass(slots=True, kw_only=True)
class Quotas:
    """Sums of requests: millicores for cpu, whole units for everything else.

    Attributes:
        cost_of: called only for workloads of tenants that have a budget.
        daemon_pods_of: called only for workloads with DaemonSets.
        totals: amounts by resource, by namespace; sums of integers, so that subtracting what was
            added leaves exactly zero.
        months: the month of each tenant with a budget of it, for people.
        month_holds: why work of a tenant that can wait is held for the month, by tenant.
    """

    cost_of: CostFunction = lambda _demand, _shares: Spend()
    daemon_pods_of: DaemonPodsFunction = lambda _demand, _sites: ()
    totals: dict[str, Counter[str]] = field(default_factory=dict)
    months: Mapping[str, TenantMonth] = field(default_factory=dict)
    month_holds: Mapping[str, str] = field(default_factory=dict)
    _was_freed: bool = False
    _changed_namespaces: set[str] = field(default_factory=set)
    _usage_of: dict[WorkKey, Mapping[str, int]] = field(default_factory=dict)
    _spend_of: dict[WorkKey, Spend] = field(default_factory=dict)
    _kept_for: dict[WorkKey, Mapping[str, int]] = field(default_factory=dict)

    def keep_for(self, key: WorkKey, amounts: Mapping[str, int]) -> None:
        """Keeps quota for a workload for which others end, so that nothing else uses it; {}: none.

        Args:
            key: the workload.
            amounts: what it is to use beyond what it uses now, by resource.
        """
        if self._kept_for.get(key, {}) == amounts:
            return
        self._was_freed = True
        if amounts:
            self._kept_for[key] = amounts
        else:
            self._kept_for.pop(key, None)

    def set_usage(self, key: WorkKey, demand: Demand, shares: Mapping[str, int]) -> None:
        """Accounts for a workload that holds these replicas by site now."""
        self.restore(key, self._use_of(demand, shares))

    def assume_usage(self, key: WorkKey, demand: Demand, shares: Mapping[str, int]) -> QuotaUse:
        """Accounts for a decision that is not carried out yet: the more of before and after it.

        Returns:
            What was accounted for before, for `restore`.
        """
        before = QuotaUse(self._usage_of.get(key, {}), self._spend_of.get(key))
        self.restore(key, _larger_of(before, self._use_of(demand, shares)))
        return before

    def _use_of(self, demand: Demand, shares: Mapping[str, int]) -> QuotaUse:
        held = {site: count for site, count in shares.items() if count}
        daemon_pods = self.daemon_pods_of(demand, held) if demand.per_node else ()
        usage = demand.quota_usage(sum(held.values()), len(held), daemon_pods) if held else {}
        return QuotaUse(usage, self.cost_of(demand, held) if demand.budget_left and held else None)

    def restore(self, key: WorkKey, use: QuotaUse) -> None:
        """Accounts for a workload that uses this."""
        self._set_spend(key, use.spend)
        before, fresh = self._usage_of.get(key, {}), use.amounts
        if fresh == before:
            return
        self._was_freed |= any(amount > fresh.get(name, 0) for name, amount in before.items())
        self._update_totals(key[0], before, fresh)
        self._usage_of[key] = fresh

    def release(self, key: WorkKey) -> None:
        """Gives back all that a workload uses, because it is gone."""
        before = self._usage_of.pop(key, {})
        self._was_freed |= bool(before)
        self._set_spend(key, None)
        self._update_totals(key[0], before, {})

    def take_freed(self) -> bool:
        """Whether quota or budget was given back since the last call."""
        was_freed, self._was_freed = self._was_freed, False
        return was_freed

    def take_changed_namespaces(self) -> set[str]:
        """The namespaces whose sums have changed since the last call."""
        changed, self._changed_namespaces = self._changed_namespaces, set()
        return changed

    def used_by(self, namespaces: Collection[str], *, excluding: WorkKey) -> dict[str, int]:
        """What the workloads of these namespaces use, except one, by resource.

        What is kept for other workloads counts, too.
        """
        total: Counter[str] = Counter()
        for namespace in namespaces:
            total.update(self.totals.get(namespace, {}))
        if excluding[0] in namespaces:
            total.subtract(self._usage_of.get(excluding, {}))
        for key, kept in self._kept_for.items():
            if key != excluding and key[0] in namespaces:
                total.update(kept)
        return dict(total)

    def spent_by(self, namespaces: Collection[str], *, excluding: WorkKey) -> Spend:
        """What the workloads of these namespaces cost an hour, except one.

        Each counts with its cost at its last reconciliation.
        """
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
            self._was_freed = True

    def _update_totals(
        self, namespace: str, before: Mapping[str, int], after: Mapping[str, int]
    ) -> None:
        total = self.totals.setdefault(namespace, Counter())
        for name, amount in before.items():
            total[name] -= amount
        for name, amount in after.items():
            total[name] += amount
        self._changed_namespaces.add(namespace)
        if not any(total.values()):
            del self.totals[namespace]


def _larger_of(one: QuotaUse, other: QuotaUse) -> QuotaUse:
    names = one.amounts.keys() | other.amounts.keys()
    amounts = {name: max(one.amounts.get(name, 0), other.amounts.get(name, 0)) for name in names}
    if one.spend is None or other.spend is None:
        return QuotaUse(amounts, one.spend or other.spend)
    spend = Spend(
        cny_per_hour=max(one.spend.cny_per_hour, other.spend.cny_per_hour),
        gco2_per_hour=max(one.spend.gco2_per_hour, other.spend.gco2_per_hour),
    )
    return QuotaUse(amounts, spend)
