"""`demand_of`: resolves a workload and all that applies to it into a `Demand`, or refuses it.

Precedence: where a workload's inline placement and its policy set the same single value, the inline
one wins; hard rules of both add up; cluster policies only add hard rules. Leaving a field out never
weakens a rule.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from scheduler.model.decode import NotReadable
from scheduler.model.demand.contradictions import find_contradictions
from scheduler.model.demand.demand import (
    Companion,
    Demand,
    NotAccepted,
)
from scheduler.model.demand.failover import failover_rules
from scheduler.model.demand.identity import AT_ONE_SITE, apply_identity
from scheduler.model.demand.merge import expand_preset, merge_placements
from scheduler.model.demand.movability import immovable_because
from scheduler.model.demand.placed import first_ordinals_of, placed_below, placed_by_status
from scheduler.model.demand.tenancy import (
    QuotaUsage,
    TenantLimits,
    tenant_for,
    tenant_limits,
    unreadable_quota,
)
from scheduler.model.jurisdictions import is_province
from scheduler.model.kinds.energy import EnergyLimit
from scheduler.model.kinds.fields import NEVER_SCHEDULED_CLASS, DataClass, LabelSelector
from scheduler.model.kinds.policy import (
    ClusterPlacementPolicy,
    Failover,
    Placement,
    PlacementPolicy,
    PolicySpec,
)
from scheduler.model.kinds.rights import (
    DataClassScheme,
    OnViolation,
    data_class_of,
    data_class_rule_of,
)
from scheduler.model.kinds.site import OS_LABEL
from scheduler.model.kinds.tenant import Tenant
from scheduler.model.kinds.workload import PodDemand, StartPlan, Workload
from scheduler.model.manifests.checks import (
    BadManifest,
    check_manifests,
    check_values,
    names_of_api_kind,
)
from scheduler.model.manifests.cleaning import clean_manifests
from scheduler.model.manifests.containers import field_names, mapping_or_empty
from scheduler.model.manifests.identities import max_replicas
from scheduler.model.manifests.manifests import ParsedManifests, Pods, read_manifests
from scheduler.model.manifests.pod_kinds import (
    check_is_counted,
    check_template_paths,
    pod_kind_of,
)
from scheduler.model.manifests.pod_security import NotSecure, check_pod_security
from scheduler.model.manifests.pods import PodShape, split_shared_cards
from scheduler.model.manifests.templates import find_pod_specs, is_custom
from scheduler.model.manifests.value_types import find_refused_values
from scheduler.model.overrides.accepted import check_overrides
from scheduler.model.quantities import NotAQuantity, requests_of


@dataclass(frozen=True, kw_only=True)
class _DemandContext:
    """The objects that apply to one workload, besides the workload itself."""

    scheme: DataClassScheme | None
    tenant: Tenant | None
    policy: PolicySpec
    cluster_placements: tuple[Placement, ...]
    others: tuple[Workload, ...]
    cluster_failovers: tuple[Failover, ...] = ()


def demand_of(
    workload: Workload,
    *,
    scheme: DataClassScheme | None = None,
    tenants: Iterable[Tenant] | None = None,
    policies: Iterable[PlacementPolicy] = (),
    cluster_policies: Iterable[ClusterPlacementPolicy] = (),
    usage: QuotaUsage | None = None,
    others: Iterable[Workload] = (),
    evicted: Iterable[str] = (),
    read: "PodReader | None" = None,
) -> Demand | NotAccepted:
    """Resolves everything that a decision about a workload takes into account.

    Args:
        workload: the object; `status.placement` lists the replicas that run already.
        scheme: the scheme in force; None for the built-in one.
        tenants: all tenants; the only one that lists the workload's namespace applies, and without
            such a tenant the workload is refused. None: decides without tenancy, for files that
            hold no Tenant; a hub always passes what it has.
        policies: placement policies; the one that the workload names applies.
        cluster_policies: all cluster policies; those that match the workload tighten it.
        usage: what the tenant's other workloads use; None: nothing.
        others: workloads that an affinity may refer to.
        evicted: sites whose replicas are to be replaced.
        read: reads the manifests, as `read_pods` does; it may remember what that has returned.
    """
    tenant = tenant_for(workload.metadata.namespace, tenants, usage.book if usage else None)
    if isinstance(tenant, NotAccepted):
        return tenant
    policy = _policy_of(workload, policies)
    if policy is None:
        return _missing_policy(workload)
    shared = [each.spec for each in cluster_policies if policy_applies_to(each, workload)]
    context = _DemandContext(
        scheme=scheme,
        tenant=tenant,
        policy=policy,
        cluster_placements=tuple(each.placement for each in shared),
        others=tuple(others),
        cluster_failovers=tuple(each.failover for each in shared),
    )
    try:
        parsed = (read or read_pods)(workload, context.tenant)
    except NotSecure as error:
        return NotAccepted(reason="pod-security", condition="PodSecurity", message=str(error))
    except (BadManifest, NotAQuantity, NotReadable) as error:
        return NotAccepted(reason="invalid", condition="InvalidManifest", message=str(error))
    try:
        limits = tenant_limits(context.tenant, usage or QuotaUsage())
    except NotAQuantity as error:
        return unreadable_quota(context.tenant, error)
    demand = _assemble(workload, context, parsed, limits, tuple(sorted(evicted)))
    refusal = next(find_contradictions(workload, demand, context.tenant, parsed.scalables), None)
    return demand if refusal is None else refusal


def with_present_rights(
    workload: Workload,
    demand: Demand,
    *,
    scheme: DataClassScheme | None,
    tenant: Tenant | None,
    policy: PolicySpec | None,
    cluster_policies: Iterable[ClusterPlacementPolicy],
) -> Demand:
    """A demand that was accepted before, with what is required of its sites now.

    What cannot be looked up any more, a tenant or a policy, counts as it did then.

    Args:
        workload: with the spec that the demand was made of.
        demand: as it was accepted.
        scheme: the scheme in force; None for the built-in one.
        tenant: the tenant of its namespace; None: it has none now.
        policy: the policy that the spec names; None: it names none, or that is gone.
        cluster_policies: all cluster policies.
    """
    spec = workload.spec
    context = _DemandContext(
        scheme=scheme,
        tenant=tenant,
        policy=policy or PolicySpec(),
        cluster_placements=tuple(
            each.spec.placement for each in cluster_policies if policy_applies_to(each, workload)
        ),
        others=(),
    )
    merged = merge_placements(context.policy.placement, spec.placement or Placement())
    rights = _resolve_rights(workload, context, requested_vendors=merged.cpu_vendors)
    present = rights._asdict()
    if policy is None and spec.policy_ref is not None:
        present["cpu_vendors"] = tuple(dict.fromkeys((*rights.cpu_vendors, *demand.cpu_vendors)))
    if tenant is None:
        present["class_not_allowed"] = demand.class_not_allowed
    else:
        present["tenant_sites"] = tenant.spec.site_selector
    return msgspec.structs.replace(demand, **present)


def _assemble(
    workload: Workload,
    context: _DemandContext,
    parsed: ParsedManifests,
    limits: TenantLimits,
    evicted: tuple[str, ...],
) -> Demand:
    """Puts the parts together; arguments in the order of the fields, which records keep."""
    spec, policy, tenant = workload.spec, context.policy, context.tenant
    merged = merge_placements(policy.placement, spec.placement or Placement())
    rights = _resolve_rights(workload, context, requested_vendors=merged.cpu_vendors)
    placement = expand_preset(merged)
    shared = context.cluster_placements
    applied = apply_identity(spec.manifests, placement, shared)
    replicas = parsed.replicas if spec.replicas is None else spec.replicas
    most = max_replicas(spec.manifests)
    needed = replicas if most is None else min(replicas, most)
    is_in_ranges = applied.identity == "Ranges"
    failover = failover_rules(
        spec.failover, policy.failover, context.cluster_failovers, has_state=parsed.has_state
    )
    selectors = (placement.site_selector, *(each.site_selector for each in shared))
    return Demand(
        key=workload.metadata.key,
        uid=workload.metadata.uid,
        tenant=tenant.metadata.name if tenant else "",
        priority=spec.priority,
        replicas=needed,
        unit=parsed.unit,
        beside=parsed.beside,
        per_node=parsed.per_node,
        api_kinds=parsed.api_kinds,
        data_class=rights.data_class,
        protection_level=rights.protection_level,
        network_zones=tuple(sorted(set(spec.network_zones))),
        jurisdictions=rights.jurisdictions,
        same_province=rights.same_province,
        home=_home_province(spec.jurisdictions, tenant),
        allow_list_only=rights.allow_list_only,
        class_not_allowed=rights.class_not_allowed,
        cpu_vendors=rights.cpu_vendors,
        architectures=_architectures(spec.image_platforms, spec.manifests),
        strategy=placement.strategy or "CostOptimal",
        mode=placement.mode or "Steady",
        weights=placement.weights,
        gang=parsed.gang or bool(placement.gang) or any(each.gang for each in shared),
        preset=placement.preset or "",
        preset_options=placement.preset_options,
        site_selectors=tuple(each for each in selectors if not each.is_empty),
        tenant_sites=tenant.spec.site_selector if tenant else LabelSelector(),
        site_tolerations=placement.site_tolerations,
        site_groups=placement.site_groups,
        spread=(
            *placement.spread,
            *(rule for each in shared for rule in each.spread),
            *(
                (AT_ONE_SITE,)
                if (applied.identity == "Whole" and replicas > 1)
                or _is_undivided(parsed, placement)
                else ()
            ),
        ),
        latency=placement.latency + tuple(bound for each in shared for bound in each.latency),
        companions=_companions(workload, placement, context.others),
        prices=placement.prices,
        data=placement.data,
        schedule=spec.schedule or policy.schedule,
        failover_mode=failover.mode,
        failover_after_seconds=failover.after_seconds,
        placed=placed_below(workload, needed) if is_in_ranges else placed_by_status(workload),
        last_group=workload.status.last_group,
        on_violation=rights.on_violation,
        evicted=evicted,
        paused=spec.paused,
        quota_left=limits.quota_left,
        quota=limits.quota,
        budget_left=limits.budget_left,
        budget=limits.budget,
        claims=parsed.claims,
        unknown_scope=_unknown_scope(parsed, tenant),
        identity=applied.identity,
        numbered_set=applied.numbered_set,
        on_unmet_rules="Move"
        if "Move" in (placement.on_violation, *(each.on_violation for each in shared))
        else "Report",
        plan=_plan_of(workload),
        first_ordinals=first_ordinals_of(workload) if is_in_ranges else {},
        immovable=immovable_because(spec.manifests, applied.identity, replicas),
        energy_limits=rights.energy_limits,
        budget_hold=limits.budget_hold,
        preemption=spec.preemption,
    )


def _is_undivided(parsed: ParsedManifests, placement: Placement) -> bool:
    """Whether all replicas stay at one site; Duplicated asks for a whole copy at every site."""
    return parsed.is_undivided and parsed.replicas > 1 and placement.strategy != "Duplicated"


def _unknown_scope(parsed: ParsedManifests, tenant: Tenant | None) -> tuple[str, ...]:
    """Custom kinds that the tenant may have only if they are namespaced."""
    permitted = frozenset(tenant.spec.cluster_kinds if tenant else ())
    return tuple(each for each in parsed.unknown_scope if not permitted & names_of_api_kind(each))


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


def policy_applies_to(policy: ClusterPlacementPolicy, workload: Workload) -> bool:
    """Whether a cluster policy tightens a workload."""
    spec = policy.spec
    in_namespace = not spec.namespaces or workload.metadata.namespace in spec.namespaces
    return in_namespace and spec.workload_selector.matches(workload.metadata.labels)


PodReader = Callable[[Workload, Tenant | None], ParsedManifests]


def read_pods(workload: Workload, tenant: Tenant | None) -> ParsedManifests:
    """Reads the manifests, and adds what `spec.demand` says of kinds that cannot be read.

    This depends on nothing but the spec, the namespace and the tenant.

    Raises:
        BadManifest, NotAQuantity, NotReadable: the message says what to write.
    """
    spec, namespace = workload.spec, workload.metadata.namespace
    check_manifests(
        spec.manifests,
        namespace=namespace,
        extra_namespaces=tenant.spec.extra_namespaces if tenant else (),
        cluster_kinds=tenant.spec.cluster_kinds if tenant else (),
    )
    manifests, _ = clean_manifests(spec.manifests)
    paths = spec.demand.pod_template_paths if spec.demand else ()
    check_template_paths(manifests, paths)
    for index, each in enumerate(manifests):
        where = f"spec.manifests[{index}]"
        check_is_counted(each, where, has_demand=spec.demand is not None, template_paths=paths)
        wrong = next(find_refused_values(each), None)
        if wrong is not None:
            raise BadManifest(f"{where}.{wrong}")
        if tenant is not None:
            check_pod_security(each, where, tenant.spec.pod_security)
    read = read_manifests(manifests, namespace=namespace, template_paths=paths)
    check_values(spec.manifests)
    check_overrides(spec, manifests, namespace=namespace, tenant=tenant)
    if spec.demand is None:
        return read
    has_custom = any(is_custom(each) and pod_kind_of(each) is None for each in manifests)
    return _with_demand(read, spec.demand, has_custom=has_custom)


def _with_demand(read: ParsedManifests, demand: PodDemand, *, has_custom: bool) -> ParsedManifests:
    """Adds what `spec.demand` says to what was read; nothing that was read is left out.

    One manifest that `replicas` scales is what the demand describes: the larger request of both
    counts. All else comes beside the replicas, once at every site. Pods that were read by path
    are part of each replica. Of an object of a custom kind nothing says how to run a part of its
    replicas, so all of them stay at one site.
    """
    shape = _shape_of_demand(demand)
    if read.scalable is not None:
        (one,) = read.unit[:1]
        requests = _largest(shape.requests, one.shape.requests)
        larger = msgspec.structs.replace(
            one
            if one.shape.requests == requests
            else Pods(shape=shape, count=1, claims=one.claims),
            shape=msgspec.structs.replace(
                shape,
                requests=requests,
                gpu_cards=max(shape.gpu_cards, one.shape.gpu_cards),
                gpu_milli=max(shape.gpu_milli, one.shape.gpu_milli),
            ),
        )
        unit: tuple[Pods, ...] = (larger, *read.unit[1:])
        return msgspec.structs.replace(read, replicas=demand.replicas, unit=unit)
    by_path = read.unit if demand.pod_template_paths else ()
    stated = () if by_path and not demand.requests else (Pods(shape=shape, count=1),)
    return msgspec.structs.replace(
        read,
        replicas=demand.replicas,
        unit=(*stated, *by_path),
        beside=(*(() if by_path else read.unit), *read.beside),
        is_undivided=has_custom,
        scalable=None,
    )


def _largest(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in sorted({*one, *other})}


def _shape_of_demand(demand: PodDemand) -> PodShape:
    amounts = split_shared_cards(requests_of(demand.requests))
    return PodShape(
        requests=amounts.requests,
        gpu_cards=amounts.gpu_cards,
        gpu_milli=amounts.gpu_milli,
        gpu_models=demand.gpu_models,
        node_selector=demand.node_selector,
        tolerations=demand.tolerations,
        one_per_node=demand.anti_affinity == "hostname",
    )


class _Rights(NamedTuple):
    """What data class, tenant and policies require of a site; fields as in `Demand`."""

    data_class: DataClass | None
    protection_level: int
    jurisdictions: tuple[tuple[str, ...], ...]
    same_province: bool
    allow_list_only: bool
    class_not_allowed: bool
    cpu_vendors: tuple[tuple[str, ...], ...]
    on_violation: OnViolation
    energy_limits: tuple[EnergyLimit, ...]


def _resolve_rights(
    workload: Workload, context: _DemandContext, *, requested_vendors: tuple[str, ...]
) -> _Rights:
    spec = workload.spec
    data_class = data_class_of(context.scheme, spec.data_class)
    # A workload without a class is refused by a rule of its own. Until then the strictest class
    # applies, so that the other rules do not admit it by mistake.
    rule = data_class_rule_of(context.scheme, data_class or NEVER_SCHEDULED_CLASS)
    has_class = data_class is not None
    required = (spec.jurisdictions, rule.jurisdictions if has_class else ())
    allowed = context.tenant.spec.classes if context.tenant else ()
    vendors = (
        requested_vendors,
        rule.cpu_vendors,
        *(each.cpu_vendors for each in context.cluster_placements),
    )
    return _Rights(
        data_class=data_class,
        protection_level=max(spec.protection_level or 1, rule.protection_level if has_class else 1),
        jurisdictions=tuple(each for each in required if each),
        same_province=rule.same_province,
        allow_list_only=rule.allow_list_only and has_class,
        class_not_allowed=bool(allowed) and has_class and data_class not in allowed,
        cpu_vendors=tuple(each for each in vendors if each),
        on_violation=rule.on_violation,
        energy_limits=context.scheme.spec.energy_limits if context.scheme is not None else (),
    )


def _home_province(jurisdictions: Sequence[str], tenant: Tenant | None) -> str:
    """The one province that the workload names, else its tenant's; empty when neither says."""
    provinces = {each for each in jurisdictions if is_province(each)}
    if len(provinces) == 1 and len(jurisdictions) == 1:
        return provinces.pop()
    return (tenant.spec.jurisdiction or "") if tenant else ""


def _architectures(
    platforms: Sequence[str], manifests: Sequence[Mapping[str, Any]]
) -> tuple[str, ...]:
    """The platforms of `OS/ARCHITECTURE[/VARIANT]`, without `linux/`.

    When none is given it is amd64, on the operating system that all pods name, else on Linux.
    """
    if not platforms:
        if _NAMES_OF_SYSTEMS.isdisjoint(field_names(manifests)):
            return ("amd64",)
        systems = {_system_of(pod.spec) for each in manifests for pod in find_pod_specs(each)}
        return ("windows/amd64",) if systems == {"windows"} else ("amd64",)
    parts = [each.split("/") for each in platforms]
    return tuple(
        sorted({each[1] if each[0] == "linux" else f"{each[0]}/{each[1]}" for each in parts})
    )


_NAMES_OF_SYSTEMS = frozenset({"os", OS_LABEL})
"""Fields without which a pod runs on Linux."""


def _system_of(spec: Mapping[str, Any]) -> str:
    """The operating system that a pod names: in `os`, or by a node selector."""
    named = mapping_or_empty(spec.get("os")).get("name")
    return str(named or mapping_or_empty(spec.get("nodeSelector")).get(OS_LABEL) or "linux")


def _companions(
    workload: Workload, placement: Placement, others: Iterable[Workload]
) -> tuple[Companion, ...]:
    """Resolves each affinity rule to the sites of the workloads that it selects."""
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
                        for placed in placed_by_status(mate)
                    }
                )
            ),
            required=rule.required,
        )
        for rule in placement.affinity
    )


def _plan_of(workload: Workload) -> StartPlan | None:
    """What a later start is compared with; where it keeps room is in the facts of the sites."""
    plan = workload.status.plan
    return plan and msgspec.structs.replace(plan, place={})
