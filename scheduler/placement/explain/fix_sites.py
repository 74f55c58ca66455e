"""What would satisfy the other rules at one site: changes to it, or to what is asked of it."""

from collections.abc import Callable

from msgspec.structs import replace

from scheduler.model.decision import SuggestedChange
from scheduler.model.demand.demand import any_tolerates
from scheduler.model.kinds.fields import LabelSelector, Taint, requirement_matches
from scheduler.model.kinds.policy import SiteWeight
from scheduler.model.kinds.site import Rtt
from scheduler.placement.explain import fix_nodes as nodes
from scheduler.placement.explain import fix_rights as rights
from scheduler.placement.explain.fix_nodes import toleration_of
from scheduler.placement.explain.trial import RefusedSite, TrialStep, change_site, change_workload
from scheduler.placement.filter.retention import is_evicted_by_taint
from scheduler.placement.fleet.distance import latency_targets, longest_rtt_milliseconds
from scheduler.placement.fleet.labels import site_labels


def fix_site_taint(refused: RefusedSite) -> TrialStep | None:
    """Tolerations of what keeps the workload away, and of nothing else."""
    taints = [each for each in refused.facts.spec.taints if _is_blocking(refused, each)]
    shown = ", ".join(f"{each.key}={each.value}:{each.effect}" for each in taints)
    kept = tuple(  # a limit in seconds would still bind
        each
        for each in refused.demand.site_tolerations
        if not any(each.tolerates(one) for one in taints)
    )
    added = tuple(toleration_of(each) for each in taints)
    return change_workload(
        refused,
        "siteTolerations",
        "",
        shown,
        replace(refused.demand, site_tolerations=(*kept, *added)),
    )


def _is_blocking(refused: RefusedSite, taint: Taint) -> bool:
    if taint.effect == "PreferNoSchedule":
        return False
    alone = replace(refused.facts, spec=replace(refused.facts.spec, taints=(taint,)))
    return not any_tolerates(refused.demand.site_tolerations, taint) or (
        taint.effect == "NoExecute"
        and is_evicted_by_taint(alone, refused.demand, refused.state.context)
    )


def fix_namespace_limits(refused: RefusedSite) -> TrialStep | None:
    """A namespace at the site without the limits that it reports."""
    name, status = refused.demand.namespace, refused.facts.status
    rest = tuple(each for each in status.namespaces if each.name != name)
    shown = f"the limits of namespace {name}"
    facts = replace(refused.facts, status=replace(status, namespaces=rest))
    return change_site(refused, "namespaces", shown, "", facts)


def fix_site_selector(refused: RefusedSite) -> TrialStep | None:
    """Selectors without what the site does not match."""
    labels = site_labels(refused.facts)
    if not refused.demand.tenant_sites.matches(labels):
        change = SuggestedChange(
            kind="tenant.siteSelector",
            target=f"Tenant {refused.demand.tenant}",
            from_=", ".join(_unmet_terms_of(refused.demand.tenant_sites, labels)),
        )
        return TrialStep(change, demand=replace(refused.demand, tenant_sites=LabelSelector()))
    unmet = [
        told for each in refused.demand.site_selectors for told in _unmet_terms_of(each, labels)
    ]
    met = tuple(_keep_met_terms(each, labels) for each in refused.demand.site_selectors)
    return change_workload(
        refused, "siteSelector", ", ".join(unmet), "", replace(refused.demand, site_selectors=met)
    )


def _unmet_terms_of(wanted: LabelSelector, labels: dict[str, str]) -> list[str]:
    unmet = [f"{k}={v}" for k, v in wanted.match_labels.items() if labels.get(k) != v]
    return unmet + [
        " ".join((each.key, each.operator, *each.values))
        for each in wanted.match_expressions
        if not requirement_matches(each, labels)
    ]


def _keep_met_terms(wanted: LabelSelector, labels: dict[str, str]) -> LabelSelector:
    return LabelSelector(
        match_labels={k: v for k, v in wanted.match_labels.items() if labels.get(k) == v},
        match_expressions=tuple(
            each for each in wanted.match_expressions if requirement_matches(each, labels)
        ),
    )


def fix_site_group(refused: RefusedSite) -> TrialStep | None:
    """A last group that holds the site too."""
    *others, last = refused.demand.site_groups
    wider = replace(last, sites=(*last.sites, refused.facts.name))
    return change_workload(
        refused,
        "siteGroups",
        "",
        f"{refused.facts.name} in {last.name}",
        replace(refused.demand, site_groups=(*others, wider)),
    )


def fix_site_weight(refused: RefusedSite) -> TrialStep | None:
    """A weight for the site."""
    name = refused.facts.name
    others = tuple(each for each in refused.demand.weights if each.site != name)
    weights = (*others, SiteWeight(site=name, weight=1))
    return change_workload(
        refused, "weights", "", f"{name}: 1", replace(refused.demand, weights=weights)
    )


def fix_latency_bound(refused: RefusedSite) -> TrialStep | None:
    """Bounds as wide as the site is far."""
    bounds, widened = [], []
    for bound in refused.demand.latency:
        here = longest_rtt_milliseconds(
            refused.facts, latency_targets(refused.state.fleet, bound.from_)
        )
        wide = max(bound.within_milliseconds, here)
        if wide > bound.within_milliseconds:
            widened.append((bound.within_milliseconds, wide))
        bounds.append(replace(bound, within_milliseconds=wide))
    return change_workload(
        refused,
        "latency",
        ", ".join(f"{was:.15g} ms" for was, _ in widened),
        ", ".join(f"{becomes:.15g} ms" for _, becomes in widened),
        replace(refused.demand, latency=tuple(bounds)),
    )


def fix_unknown_latency(refused: RefusedSite) -> TrialStep | None:
    """A report that knows the round trips that are asked for, and that they are short enough."""
    known = {each.to for each in refused.facts.status.rtt} | {refused.facts.name}
    figures, shown = list(refused.facts.status.rtt), []
    for bound in refused.demand.latency:
        within = bound.within_milliseconds
        for target in latency_targets(refused.state.fleet, bound.from_):
            if target not in known:
                known.add(target)
                figures.append(Rtt(to=target, milliseconds=within, origin="measured"))
                shown.append(f"{within:g} ms or less to {target}")
    if not shown:
        return None
    status = replace(refused.facts.status, rtt=tuple(figures))
    return change_site(refused, "rtt", "", ", ".join(shown), replace(refused.facts, status=status))


def fix_stale_report(refused: RefusedSite) -> TrialStep | None:
    """A report from now."""
    status = replace(refused.facts.status, observed_at=refused.state.context.now, conditions=())
    was = refused.facts.observed_at.isoformat() if refused.facts.observed_at else "never"
    return change_site(
        refused, "report", was, "a report from now", replace(refused.facts, status=status)
    )


def fix_cordon(refused: RefusedSite) -> TrialStep | None:
    """A site that is open again."""
    spec = replace(refused.facts.spec, cordon=False)
    return change_site(refused, "cordon", "true", "false", replace(refused.facts, spec=spec))


def fix_executor(refused: RefusedSite) -> TrialStep | None:
    """An agent that applies orders."""
    kinds = refused.facts.status.api_kinds or None
    status = replace(refused.facts.status, executor=True, api_kinds=kinds)
    return change_site(refused, "executor", "false", "true", replace(refused.facts, status=status))


def fix_api_kind(refused: RefusedSite) -> TrialStep | None:
    """A cluster that serves the kinds: their definitions are installed there."""
    had = refused.facts.status.api_kinds or ()
    missing = [each for each in refused.demand.api_kinds if each not in had]
    status = replace(refused.facts.status, api_kinds=(*had, *missing))
    return change_site(
        refused, "apiKinds", "", ", ".join(missing), replace(refused.facts, status=status)
    )


def fix_companion(refused: RefusedSite) -> TrialStep | None:
    """Affinity to other workloads as a wish, not a must."""
    preferred = tuple(replace(each, required=False) for each in refused.demand.companions)
    return change_workload(
        refused, "affinity", "required", "preferred", replace(refused.demand, companions=preferred)
    )


FIXES: dict[str, Callable[[RefusedSite], TrialStep | None]] = {
    "data-class-missing": rights.fix_data_class_missing,
    "has-grant": rights.fix_missing_grant,
    "grant-expired": rights.fix_grant_dates,
    "data-class": rights.fix_data_class,
    "protection-level": rights.fix_protection_level,
    "network-zone": rights.fix_network_zones,
    "jurisdiction": rights.fix_jurisdiction,
    "dedicated-pool": rights.fix_dedicated_pool,
    "not-allowed": rights.fix_allow_list,
    "cpu-vendor": rights.fix_cpu_vendor,
    "architecture": nodes.fix_architecture,
    "node-taint": nodes.fix_node_taint,
    "taint": fix_site_taint,
    "taint-time": fix_site_taint,
    "site-limits": fix_namespace_limits,
    "node-selector": nodes.fix_node_selector,
    "selector": fix_site_selector,
    "site-group": fix_site_group,
    "weighted": fix_site_weight,
    "too-far": fix_latency_bound,
    "latency-unknown": fix_unknown_latency,
    "stale": fix_stale_report,
    "silent": fix_stale_report,
    "cordoned": fix_cordon,
    "no-executor": fix_executor,
    "api-kind": fix_api_kind,
    "companion": fix_companion,
}
"""By the name of the rule: what would satisfy it."""
