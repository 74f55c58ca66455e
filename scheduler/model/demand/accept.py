"""`demand_of`: a workload with all that bears on it becomes a `Demand`, or a "no" with its reason.

Order of words: the workload's inline placement wins over its policy where both name one value; hard
rules of both add up; cluster policies only add hard rules. What is left out never weakens a rule.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scheduler.model.decode import NotReadable
from scheduler.model.demand.contradictions import find_contradictions
from scheduler.model.demand.demand import Companion, Demand, NotAccepted, PlacedReplicas
from scheduler.model.demand.merge import expand_preset, merge_placements
from scheduler.model.jurisdictions import is_province
from scheduler.model.kinds.fields import LabelSelector
from scheduler.model.kinds.policy import (
    ClusterPlacementPolicy,
    Placement,
    PlacementPolicy,
    PolicySpec,
)
from scheduler.model.kinds.rights import DataClassScheme, data_class_of, data_class_rule_of
from scheduler.model.kinds.tenant import Spend, Tenant, budget_left, quota_left, quota_of
from scheduler.model.kinds.workload import PodDemand, Workload
from scheduler.model.manifests.manifests import (
    BadManifest,
    ParsedManifests,
    Pods,
    check_manifests,
    read_manifests,
)
from scheduler.model.manifests.pods import shape_of_requests
from scheduler.model.quantities import NotAQuantity, requests_of


@dataclass(frozen=True, kw_only=True)
class _DemandContext:
    """All that bears on one workload."""

    scheme: DataClassScheme | None
    tenant: Tenant | None
    policy: PolicySpec
    cluster_placements: tuple[Placement, ...]
    others: tuple[Workload, ...]


def demand_of(
    workload: Workload,
    *,
    scheme: DataClassScheme | None = None,
    tenants: Iterable[Tenant] = (),
    policies: Iterable[PlacementPolicy] = (),
    cluster_policies: Iterable[ClusterPlacementPolicy] = (),
    used: Mapping[str, int] | None = None,
    cohort_left: Mapping[str, int] | None = None,
    spent: Spend | None = None,
    others: Iterable[Workload] = (),
    evicted: Iterable[str] = (),
) -> Demand | NotAccepted:
    """Resolves what a decision about a workload is asked.

    Args:
        workload: the object; `status.placement` is what runs already.
        scheme: the scheme that counts; None: the built-in one.
        tenants: all tenants; the one that owns the namespace counts.
        policies: placement policies; the one that the workload names counts.
        cluster_policies: all of them; those that match the workload tighten it.
        used: what other workloads of the tenant use, in the units of `quantities.requested`.
        cohort_left: what the others of the tenant's cohort leave of their quotas, see `lent_to`.
        spent: what other workloads of the tenant cost.
        others: workloads that an affinity may refer to.
        evicted: sites whose replicas are to be replaced.
    """
    policy = _policy_of(workload, policies)
    if policy is None:
        return _missing_policy(workload)
    context = _DemandContext(
        scheme=scheme,
        tenant=tenant_of(workload, tenants),
        policy=policy,
        cluster_placements=tuple(
            each.spec.placement for each in cluster_policies if _applies_to(each, workload)
        ),
        others=tuple(others),
    )
    try:
        parsed = _read_pods_of(workload, context.tenant)
    except (BadManifest, NotAQuantity, NotReadable) as error:
        return NotAccepted(reason="invalid", condition="InvalidManifest", message=str(error))
    try:
        quota_fields = _quota_fields(
            context.tenant, used or {}, cohort_left or {}, spent or Spend()
        )
    except NotAQuantity as error:
        return _unreadable_quota(context.tenant, error)
    demand = Demand(
        **_identity_fields(workload, context),
        **_pod_fields(workload, parsed),
        **_rights_fields(workload, context),
        **_placement_fields(workload, context, has_state=parsed.has_state),
        placed=_placed_by_status(workload),
        last_group=workload.status.last_group,
        evicted=tuple(sorted(evicted)),
        **quota_fields,
    )
    refusal = next(find_contradictions(workload, demand, context.tenant, parsed.scalables), None)
    return demand if refusal is None else refusal


def _unreadable_quota(tenant: Tenant | None, error: NotAQuantity) -> NotAccepted:
    """A limit that cannot be read is not no limit."""
    name = tenant.metadata.name if tenant else ""
    return NotAccepted(
        reason="quota",
        condition="InvalidTenant",
        message=f"Tenant {name}: spec.quota or spec.borrowingLimit: {error}",
    )


def tenant_of(workload: Workload, tenants: Iterable[Tenant]) -> Tenant | None:
    """The tenant that owns the workload's namespace; None: nobody does."""
    namespace = workload.metadata.namespace
    return next((each for each in tenants if namespace in each.spec.namespaces), None)


def _policy_of(workload: Workload, policies: Iterable[PlacementPolicy]) -> PolicySpec | None:
    reference = workload.spec.policy_ref
    if reference is None:
        return PolicySpec()
    wanted = (workload.metadata.namespace, reference.name)
    return next(
        (each.spec for each in policies if (each.metadata.namespace, each.metadata.name) == wanted),
        None,
    )


def _missing_policy(workload: Workload) -> NotAccepted:
    name = workload.spec.policy_ref.name if workload.spec.policy_ref else ""
    return NotAccepted(
        reason="invalid",
        condition="PolicyNotFound",
        message=(
            f"spec.policyRef: there is no PlacementPolicy {name} in namespace "
            f"{workload.metadata.namespace}; create it or write spec.placement"
        ),
    )


def _applies_to(policy: ClusterPlacementPolicy, workload: Workload) -> bool:
    spec = policy.spec
    in_namespace = not spec.namespaces or workload.metadata.namespace in spec.namespaces
    return in_namespace and spec.workload_selector.matches(workload.metadata.labels)


def _read_pods_of(workload: Workload, tenant: Tenant | None) -> ParsedManifests:
    spec = workload.spec
    check_manifests(
        spec.manifests,
        namespace=workload.metadata.namespace,
        extra_namespaces=tenant.spec.extra_namespaces if tenant else (),
        cluster_kinds=tenant.spec.cluster_kinds if tenant else (),
    )
    read = read_manifests(spec.manifests)
    if spec.demand is None:
        return read
    return ParsedManifests(
        replicas=spec.demand.replicas,
        unit=(Pods(shape=_shape_of_demand(spec.demand), count=1),),
        per_node=read.per_node,
        api_kinds=read.api_kinds,
        has_state=read.has_state,
        scalables=read.scalables,
    )


def _shape_of_demand(demand: PodDemand) -> Any:  # noqa: ANN401 - PodShape, whose fields are passed on
    return shape_of_requests(
        requests_of(demand.requests),
        gpu_models=demand.gpu_models,
        node_selector=demand.node_selector,
        tolerations=demand.tolerations,
        one_per_node=demand.anti_affinity == "hostname",
    )


def _identity_fields(workload: Workload, context: _DemandContext) -> dict[str, Any]:
    return {
        "key": workload.metadata.key,
        "uid": workload.metadata.uid,
        "tenant": context.tenant.metadata.name if context.tenant else "",
        "priority": workload.spec.priority,
        "created_at": workload.metadata.creation_timestamp,
        "paused": workload.spec.paused,
    }


def _pod_fields(workload: Workload, parsed: ParsedManifests) -> dict[str, Any]:
    replicas = workload.spec.replicas
    return {
        "replicas": parsed.replicas if replicas is None else replicas,
        "unit": parsed.unit,
        "beside": parsed.beside,
        "per_node": parsed.per_node,
        "api_kinds": parsed.api_kinds,
    }


def _rights_fields(workload: Workload, context: _DemandContext) -> dict[str, Any]:
    spec = workload.spec
    data_class = data_class_of(context.scheme, spec.data_class)
    # A workload without a class is refused anyway; the strictest rule keeps the other answers
    # honest.
    rule = data_class_rule_of(context.scheme, data_class or "core")
    level = rule.protection_level if data_class else 1
    allowed = context.tenant.spec.classes if context.tenant else ()
    requested_vendors = merge_placements(
        context.policy.placement, spec.placement or Placement()
    ).cpu_vendors
    vendors = (
        requested_vendors,
        rule.cpu_vendors,
        *(each.cpu_vendors for each in context.cluster_placements),
    )
    return {
        "data_class": data_class,
        "protection_level": max(spec.protection_level or 1, level),
        "network_zones": tuple(sorted(set(spec.network_zones))),
        "jurisdictions": tuple(
            each for each in (spec.jurisdictions, rule.jurisdictions if data_class else ()) if each
        ),
        "same_province": rule.same_province,
        "home": _home_province(spec.jurisdictions, context.tenant),
        "allow_list_only": rule.allow_list_only and data_class is not None,
        "class_not_allowed": bool(allowed) and data_class is not None and data_class not in allowed,
        "cpu_vendors": tuple(each for each in vendors if each),
        "architectures": _architectures(spec.image_platforms),
        "on_violation": rule.on_violation,
    }


def _home_province(jurisdictions: Sequence[str], tenant: Tenant | None) -> str:
    provinces = {each for each in jurisdictions if is_province(each)}
    if len(provinces) == 1 and len(jurisdictions) == 1:
        return provinces.pop()
    return (tenant.spec.jurisdiction or "") if tenant else ""


def _architectures(platforms: Sequence[str]) -> tuple[str, ...]:
    if not platforms:
        return ("amd64",)
    linux = {each.split("/")[1] for each in platforms if each.startswith("linux/")}
    return tuple(sorted(linux))


def _placement_fields(
    workload: Workload, context: _DemandContext, *, has_state: bool
) -> dict[str, Any]:
    spec, policy = workload.spec, context.policy
    placement = expand_preset(merge_placements(policy.placement, spec.placement or Placement()))
    cluster_placements = context.cluster_placements
    failover = spec.failover or policy.failover
    selectors = (placement.site_selector, *(each.site_selector for each in cluster_placements))
    return {
        "strategy": placement.strategy or "CostOptimal",
        "mode": placement.mode or "Steady",
        "weights": placement.weights,
        "gang": bool(placement.gang) or any(each.gang for each in cluster_placements),
        "preset": placement.preset or "",
        "preset_options": placement.preset_options,
        "site_selectors": tuple(each for each in selectors if not each.is_empty),
        "tenant_sites": context.tenant.spec.site_selector if context.tenant else LabelSelector(),
        "site_tolerations": placement.site_tolerations,
        "site_groups": placement.site_groups,
        "spread": placement.spread
        + tuple(rule for each in cluster_placements for rule in each.spread),
        "latency": placement.latency
        + tuple(bound for each in cluster_placements for bound in each.latency),
        "companions": _companions(workload, placement, context.others),
        "prices": placement.prices,
        "data": placement.data,
        "schedule": spec.schedule or policy.schedule,
        "failover_mode": failover.mode or ("Manual" if has_state else "Automatic"),
        "failover_after_seconds": failover.after_seconds,
    }


def _companions(
    workload: Workload, placement: Placement, others: Iterable[Workload]
) -> tuple[Companion, ...]:
    neighbours = [
        each
        for each in others
        if each.metadata.namespace == workload.metadata.namespace
        and each.metadata.name != workload.metadata.name
    ]
    return tuple(
        Companion(
            apart=rule.kind == "Apart",
            by=rule.by,
            sites=tuple(
                sorted(
                    {
                        placed.site
                        for mate in neighbours
                        if rule.selector.matches(mate.metadata.labels)
                        for placed in _placed_by_status(mate)
                    }
                )
            ),
            required=rule.required,
        )
        for rule in placement.affinity
    )


def _placed_by_status(workload: Workload) -> tuple[PlacedReplicas, ...]:
    return tuple(
        PlacedReplicas(site=site, replicas=group.replicas, phase=group.phase)
        for group in workload.status.placement.groups
        for site in group.sites
    )


def _quota_fields(
    tenant: Tenant | None, used: Mapping[str, int], cohort_left: Mapping[str, int], spent: Spend
) -> dict[str, Any]:
    if tenant is None:
        return {}
    found: dict[str, Any] = {}
    if tenant.spec.quota:
        found = {"quota_left": quota_left(tenant, used, cohort_left), "quota": quota_of(tenant)}
    left = budget_left(tenant, spent)
    return found if left is None else {**found, "budget_left": left, "budget": tenant.spec.budget}
