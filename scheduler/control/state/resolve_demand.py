"""From a workload to the question of a decision: all that bears on it, looked up."""

from collections.abc import Iterable
from typing import Any

from scheduler.control.state.objects import Registry
from scheduler.control.state.quotas import Quotas
from scheduler.model.demand.accept import demand_of
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.policy import PlacementPolicy
from scheduler.model.kinds.tenant import Budget, Tenant, lent_to
from scheduler.model.kinds.workload import Workload


def demand_from(workload: Workload, registry: Registry, quotas: Quotas) -> Demand | NotAccepted:
    """Resolves what a decision about a workload is asked, as the hub has it now."""
    meta = workload.metadata
    tenant = registry.tenant_of(meta.namespace)
    policy = _policy(workload, registry)
    return demand_of(
        workload,
        scheme=registry.scheme(),
        tenants=(tenant,) if tenant else (),
        policies=(policy,) if policy else (),
        cluster_policies=registry.cluster_policies.values(),
        **_allowance((meta.namespace, meta.name), tenant, registry, quotas),
        others=_others(workload, policy, registry),
    )


def _allowance(
    key: WorkKey, tenant: Tenant | None, registry: Registry, quotas: Quotas
) -> dict[str, Any]:
    """What others use of the tenant's quota and budget, and what its cohort would lend."""
    if tenant is None:
        return {}

    def used_by(one: Tenant) -> dict[str, int]:
        return quotas.used(frozenset(one.spec.namespaces), besides=key)

    found: dict[str, Any] = {}
    if tenant.spec.quota:
        found["used"] = used_by(tenant)
        found["lent"] = lent_to(tenant, registry.tenants.values(), used_by)
    if tenant.spec.budget != Budget():
        found["spent"] = quotas.spent(frozenset(tenant.spec.namespaces), besides=key)
    return found


def _policy(workload: Workload, registry: Registry) -> PlacementPolicy | None:
    reference = workload.spec.policy_ref
    if reference is None:
        return None
    return registry.policies.get((workload.metadata.namespace, reference.name))


def _others(
    workload: Workload, policy: PlacementPolicy | None, registry: Registry
) -> Iterable[Workload]:
    """The workloads that an affinity may refer to; looked through only when there is one."""
    inline = workload.spec.placement
    rules = inline.affinity if inline else ()
    if not rules and not (policy and policy.spec.placement.affinity):
        return ()
    namespace = workload.metadata.namespace
    return [one for key, one in registry.workloads.items() if key[0] == namespace]
