"""The demands of all workloads of a copy, and what their tenants use of quotas and budgets."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil, fsum

import msgspec

from scheduler.model.demand.accept import demand_of
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.demand.tenancy import QuotaUsage, tenant_limits, tenant_of
from scheduler.model.kinds.policy import PlacementPolicy
from scheduler.model.kinds.tenant import Budget, Spend, Tenant
from scheduler.model.kinds.tenant_quotas import LendingBook
from scheduler.model.kinds.tenant_tree import tenant_tree
from scheduler.model.kinds.workload import Workload
from scheduler.whatif.fleet_copy import FleetCopy

Progress = Callable[[str, int, int], None]
"""(what is done, how many of it, of how many); called often, and must be quick."""

UsedQuota = Callable[[Demand, Mapping[str, int]], Mapping[str, int]]
SpendFunction = Callable[[Demand, Mapping[str, int]], Spend]

_PROGRESS_STEP = 100


def no_progress(_what: str, _done: int, _total: int) -> None:
    """Shows nothing."""


class DemandReader:
    """Resolves workloads by the objects of a copy.

    Args:
        copy: the copy.
        load: every workload has this many times its replicas, rounded up.

    Attributes:
        unscaled: workloads whose replicas cannot be changed, as `namespace/name`.
    """

    def __init__(self, copy: FleetCopy, load: float = 1.0) -> None:
        self._copy, self._load = copy, load
        self.unscaled: list[str] = []
        self._tenants: dict[str, tuple[Tenant, ...]] = {}
        for tenant in copy.objects.tenants or ():
            for namespace in tenant.spec.namespaces:
                self._tenants[namespace] = (*self._tenants.get(namespace, ()), tenant)
        self._policies: dict[tuple[str, str], PlacementPolicy] = {
            (one.metadata.namespace, one.metadata.name): one for one in copy.objects.policies
        }

    def tenant_of(self, workload: Workload) -> Tenant | None:
        """The tenant that a workload belongs to; None: none, or several."""
        return tenant_of(workload, self._tenants.get(workload.metadata.namespace, ()))

    def read_all(
        self,
        progress: Progress = no_progress,
        unscaled: Mapping[str, Demand | NotAccepted] | None = None,
    ) -> dict[str, Demand | NotAccepted]:
        """The demands of all workloads, by `namespace/name`.

        Args:
            progress: shows how far it is.
            unscaled: those that were read already, by the same policies, without the load.
        """
        found, workloads = {}, self._copy.workloads
        for place, one in enumerate(workloads):
            if not place % _PROGRESS_STEP:
                progress("read", place, len(workloads))
            known = (unscaled or {}).get(one.metadata.key)
            found[one.metadata.key] = self._scaled(one, known or self._read(one, workloads))
        return found

    def read(self, workload: Workload, others: Iterable[Workload]) -> Demand | NotAccepted:
        """The demand of one workload, without what its tenant's other workloads use.

        Args:
            workload: the object.
            others: workloads that an affinity may refer to.
        """
        return self._scaled(workload, self._read(workload, others), others)

    def _scaled(
        self,
        workload: Workload,
        found: Demand | NotAccepted,
        others: Iterable[Workload] | None = None,
    ) -> Demand | NotAccepted:
        """The demand with the replicas of the load."""
        if self._load == 1.0 or isinstance(found, NotAccepted) or not found.replicas:
            return found
        spec = msgspec.structs.replace(workload.spec, replicas=ceil(found.replicas * self._load))
        larger = msgspec.structs.replace(workload, spec=spec)
        scaled = self._read(larger, self._copy.workloads if others is None else others)
        if isinstance(scaled, NotAccepted):
            self.unscaled.append(workload.metadata.key)
            return found
        return scaled

    def _read(self, workload: Workload, others: Iterable[Workload]) -> Demand | NotAccepted:
        objects, namespace = self._copy.objects, workload.metadata.namespace
        reference = workload.spec.policy_ref
        policy = self._policies.get((namespace, reference.name)) if reference else None
        return demand_of(
            workload,
            scheme=objects.scheme,
            tenants=None if objects.tenants is None else self._tenants.get(namespace, ()),
            policies=(policy,) if policy else (),
            cluster_policies=objects.cluster_policies,
            others=others if self.has_affinity(workload) else (),
        )

    def has_affinity(self, workload: Workload) -> bool:
        """Whether its demand depends on where other workloads are."""
        reference, inline = workload.spec.policy_ref, workload.spec.placement
        policy = (
            self._policies.get((workload.metadata.namespace, reference.name)) if reference else None
        )
        return bool((inline and inline.affinity) or (policy and policy.spec.placement.affinity))


@dataclass(slots=True, kw_only=True)
class TenantBooks:
    """What placed workloads use of their tenants' quotas and budgets.

    Only the workloads of tenants with a quota or a budget, and of their cohorts, are counted.

    Attributes:
        tenants: all tenants; empty: without tenancy.
        used_by: what replicas by site take of a quota.
        spend_of: what replicas by site cost.
    """

    tenants: tuple[Tenant, ...]
    used_by: UsedQuota
    spend_of: SpendFunction
    _used: dict[str, Counter[str]] = field(default_factory=dict)
    _usage_of: dict[str, Mapping[str, int]] = field(default_factory=dict)
    _spends: dict[str, dict[str, Spend]] = field(default_factory=dict)

    @property
    def is_any_limited(self) -> bool:
        """Whether any tenant has a quota or a budget."""
        return any(_is_limited(one) for one in self.tenants)

    def forked(self) -> "TenantBooks":
        """Books that begin with the same entries and change alone."""
        return TenantBooks(
            tenants=self.tenants,
            used_by=self.used_by,
            spend_of=self.spend_of,
            _used={name: Counter(used) for name, used in self._used.items()},
            _usage_of=dict(self._usage_of),
            _spends={name: dict(some) for name, some in self._spends.items()},
        )

    def set(self, demand: Demand, replicas_by_site: Mapping[str, int]) -> None:
        """Counts a workload with these replicas, in place of what it was counted with."""
        if not demand.tenant or not self.is_any_limited:
            return
        held = {site: count for site, count in replicas_by_site.items() if count}
        usage = self.used_by(demand, held) if held else {}
        total = self._used.setdefault(demand.tenant, Counter())
        total.subtract(self._usage_of.get(demand.key, {}))
        total.update(usage)
        self._usage_of[demand.key] = usage
        if demand.budget_left is not None:
            spend = self.spend_of(demand, held) if held else Spend()
            self._spends.setdefault(demand.tenant, {})[demand.key] = spend

    def limited(self, demand: Demand, tenant: Tenant | None) -> Demand:
        """The demand with what its tenant's other workloads leave of quota and budget."""
        if tenant is None or not _is_limited(tenant):
            return demand
        spends = [
            one
            for key, one in self._spends.get(tenant.metadata.name, {}).items()
            if key != demand.key
        ]
        usage = QuotaUsage(
            book=self.lending_book(demand.key),
            spent=Spend(
                cny_per_hour=fsum(one.cny_per_hour for one in spends),
                gco2_per_hour=fsum(one.gco2_per_hour for one in spends),
            ),
        )
        limits = tenant_limits(tenant, usage)
        return msgspec.structs.replace(
            demand, quota_left=limits.quota_left, budget_left=limits.budget_left
        )

    def lending_book(self, without: str) -> LendingBook:
        """The quotas of all tenants and what their workloads use, without one workload."""
        return LendingBook(tenant_tree(self.tenants), lambda one: self._used_without(one, without))

    def _used_without(self, tenant: Tenant, key: str) -> dict[str, int]:
        total = Counter(self._used.get(tenant.metadata.name, {}))
        if key.partition("/")[0] in tenant.spec.namespaces:
            total.subtract(self._usage_of.get(key, {}))
        return dict(total)


def _is_limited(tenant: Tenant) -> bool:
    return bool(tenant.spec.quota or tenant.spec.parent) or tenant.spec.budget != Budget()
