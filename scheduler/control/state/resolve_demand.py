"""Resolves a workload to a demand: looks up everything that a decision about it depends on."""

from collections.abc import Iterable

from scheduler.control.state.objects import HubObjects
from scheduler.control.state.quotas import Quotas
from scheduler.control.state.resolved_demands import AppliedObjects
from scheduler.model.demand.accept import (
    demand_of,
    policy_applies_to,
    with_present_rights,
)
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.demand.tenancy import QuotaUsage
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.policy import ClusterPlacementPolicy, PlacementPolicy
from scheduler.model.kinds.tenant import Budget, Spend, Tenant
from scheduler.model.kinds.tenant_quotas import LendingBook
from scheduler.model.kinds.workload import Workload


def resolve_demand(
    workload: Workload, objects: HubObjects, quotas: Quotas, *, evicted: Iterable[str] = ()
) -> Demand | NotAccepted:
    """The demand of a workload by the hub's present objects, or why it is not accepted.

    Args:
        workload: the object.
        objects: the hub's present objects.
        quotas: what others use.
        evicted: sites whose replicas are to be replaced.
    """
    meta = workload.metadata
    tenant = objects.tenant_of(meta.namespace)
    applied = AppliedObjects(
        scheme=objects.default_scheme(),
        tenants=objects.tenants_of(meta.namespace),
        policy=_policy_of(workload, objects),
        cluster_policies=tuple(objects.cluster_policies.values()),
    )
    may_be_known = not (_is_limited(tenant) or _has_affinity(workload, applied.policy))
    left = tuple(sorted(evicted))
    if may_be_known and (known := objects.demands.find(workload, applied, left)):
        return known
    demand = demand_of(
        workload,
        scheme=applied.scheme,
        tenants=applied.tenants,
        policies=(applied.policy,) if applied.policy else (),
        cluster_policies=applied.cluster_policies,
        usage=_quota_usage((meta.namespace, meta.name), tenant, objects, quotas),
        others=_affinity_candidates(workload, applied.policy, objects),
        evicted=left,
        read=objects.readings.read,
    )
    if may_be_known and isinstance(demand, Demand):
        objects.demands.keep(workload, applied, demand)
    return demand


def _is_limited(tenant: Tenant | None) -> bool:
    """Whether what other workloads use, or another tenant, is a part of a demand."""
    if tenant is None:
        return False
    return bool(tenant.spec.quota or tenant.spec.parent) or tenant.spec.budget != Budget()


def with_rights_of_today(workload: Workload, demand: Demand, objects: HubObjects) -> Demand:
    """The demand of a former spec, judged by the present scheme, tenant and policies.

    Args:
        workload: with the spec that the demand was made of.
        demand: as it was accepted.
        objects: the hub's present objects.
    """
    policy = _policy_of(workload, objects)
    return with_present_rights(
        workload,
        demand,
        scheme=objects.default_scheme(),
        tenant=objects.tenant_of(workload.metadata.namespace),
        policy=policy.spec if policy else None,
        cluster_policies=objects.cluster_policies.values(),
    )


def policies_of(
    workload: Workload, objects: HubObjects
) -> list[PlacementPolicy | ClusterPlacementPolicy]:
    """The policies that apply to a workload: the one that it names, and those of the cluster."""
    named = _policy_of(workload, objects)
    shared = (one for _, one in sorted(objects.cluster_policies.items()))
    return [
        *((named,) if named else ()),
        *(one for one in shared if policy_applies_to(one, workload)),
    ]


def _quota_usage(
    key: WorkKey, tenant: Tenant | None, objects: HubObjects, quotas: Quotas
) -> QuotaUsage | None:
    """What others use of the tenant's quota and budget, and of those of all other tenants."""
    if tenant is None:
        return None
    namespaces = frozenset(tenant.spec.namespaces)
    has_budget = tenant.spec.budget != Budget()
    return QuotaUsage(
        book=lending_book(objects, quotas, without=key),
        spent=quotas.spent_by(namespaces, excluding=key) if has_budget else Spend(),
        budget_hold=quotas.month_holds.get(tenant.metadata.name, "") if has_budget else "",
    )


def lending_book(objects: HubObjects, quotas: Quotas, *, without: WorkKey) -> LendingBook:
    """The quotas of all tenants and what their workloads use of them, without one workload."""

    def used_by(one: Tenant) -> dict[str, int]:
        return quotas.used_by(frozenset(one.spec.namespaces), excluding=without)

    return LendingBook(objects.tenant_tree, used_by)


def _policy_of(workload: Workload, objects: HubObjects) -> PlacementPolicy | None:
    reference = workload.spec.policy_ref
    if reference is None:
        return None
    return objects.policies.get((workload.metadata.namespace, reference.name))


def _affinity_candidates(
    workload: Workload, policy: PlacementPolicy | None, objects: HubObjects
) -> Iterable[Workload]:
    """The workloads that an affinity may refer to; none when the workload has no affinity."""
    if not _has_affinity(workload, policy):
        return ()
    return objects.workloads_in(workload.metadata.namespace)


def depends_on_other_placements(workload: Workload, objects: HubObjects) -> bool:
    """Whether its demand may be another one once a workload of its namespace is placed.

    Through an affinity; a quota and a budget say so in the demand itself.
    """
    return _has_affinity(workload, _policy_of(workload, objects))


def _has_affinity(workload: Workload, policy: PlacementPolicy | None) -> bool:
    inline = workload.spec.placement
    rules = inline.affinity if inline else ()
    return bool(rules or (policy and policy.spec.placement.affinity))
