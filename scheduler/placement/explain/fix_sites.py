"""What would satisfy the other rules at one site: changes to it, or to what is asked of it."""

from collections.abc import Callable

from msgspec.structs import replace

from scheduler.model.decision import Change
from scheduler.model.demand.demand import tolerates
from scheduler.model.kinds.fields import LabelSelector, Taint, holds
from scheduler.model.kinds.policy import SiteWeight
from scheduler.model.kinds.site import Rtt
from scheduler.placement.explain import fix_nodes as nodes
from scheduler.placement.explain import fix_rights as rights
from scheduler.placement.explain.fix_nodes import toleration_of
from scheduler.placement.explain.trial import Ill, Step, of_site, of_workload
from scheduler.placement.filter.retention import is_driven_out
from scheduler.placement.fleet.distance import milliseconds_to, targets_of
from scheduler.placement.fleet.labels import site_labels


def taint(ill: Ill) -> Step | None:
    """Tolerations of what keeps the workload away, and of nothing else."""
    taints = [each for each in ill.facts.spec.taints if _keeps_away(ill, each)]
    told = ", ".join(f"{each.key}={each.value}:{each.effect}" for each in taints)
    had = tuple(  # a limit in seconds would still bind
        each
        for each in ill.demand.site_tolerations
        if not any(each.tolerates(one) for one in taints)
    )
    bearing = tuple(toleration_of(each) for each in taints)
    return of_workload(
        ill, "siteTolerations", "", told, replace(ill.demand, site_tolerations=(*had, *bearing))
    )


def _keeps_away(ill: Ill, taint: Taint) -> bool:
    if taint.effect == "PreferNoSchedule":
        return False
    alone = replace(ill.facts, spec=replace(ill.facts.spec, taints=(taint,)))
    return not tolerates(ill.demand.site_tolerations, taint) or (
        taint.effect == "NoExecute" and is_driven_out(alone, ill.demand, ill.case.moment)
    )


def namespace_limits(ill: Ill) -> Step | None:
    """A namespace at the site without the limits that it reports."""
    name, status = ill.demand.namespace, ill.facts.status
    rest = tuple(each for each in status.namespaces if each.name != name)
    told = f"the limits of namespace {name}"
    facts = replace(ill.facts, status=replace(status, namespaces=rest))
    return of_site(ill, "namespaces", told, "", facts)


def selector(ill: Ill) -> Step | None:
    """Selectors without what the site does not match."""
    labels = site_labels(ill.facts)
    if not ill.demand.tenant_sites.matches(labels):
        change = Change(
            kind="tenant.siteSelector",
            target=f"Tenant {ill.demand.tenant}",
            from_=", ".join(_unmet(ill.demand.tenant_sites, labels)),
        )
        return Step(change, demand=replace(ill.demand, tenant_sites=LabelSelector()))
    unmet = [told for each in ill.demand.site_selectors for told in _unmet(each, labels)]
    met = tuple(_met(each, labels) for each in ill.demand.site_selectors)
    return of_workload(
        ill, "siteSelector", ", ".join(unmet), "", replace(ill.demand, site_selectors=met)
    )


def _unmet(wanted: LabelSelector, labels: dict[str, str]) -> list[str]:
    unmet = [f"{k}={v}" for k, v in wanted.match_labels.items() if labels.get(k) != v]
    return unmet + [
        " ".join((each.key, each.operator, *each.values))
        for each in wanted.match_expressions
        if not holds(each, labels)
    ]


def _met(wanted: LabelSelector, labels: dict[str, str]) -> LabelSelector:
    return LabelSelector(
        match_labels={k: v for k, v in wanted.match_labels.items() if labels.get(k) == v},
        match_expressions=tuple(each for each in wanted.match_expressions if holds(each, labels)),
    )


def site_group(ill: Ill) -> Step | None:
    """A last group that holds the site too."""
    *others, last = ill.demand.site_groups
    wider = replace(last, sites=(*last.sites, ill.facts.name))
    return of_workload(
        ill,
        "siteGroups",
        "",
        f"{ill.facts.name} in {last.name}",
        replace(ill.demand, site_groups=(*others, wider)),
    )


def weighted(ill: Ill) -> Step | None:
    """A weight for the site."""
    name = ill.facts.name
    others = tuple(each for each in ill.demand.weights if each.site != name)
    weights = (*others, SiteWeight(site=name, weight=1))
    return of_workload(ill, "weights", "", f"{name}: 1", replace(ill.demand, weights=weights))


def nearer(ill: Ill) -> Step | None:
    """Bounds as wide as the site is far."""
    bounds, told = [], []
    for bound in ill.demand.latency:
        here = milliseconds_to(ill.facts, targets_of(ill.case.fleet, bound.from_))
        wide = max(bound.within_milliseconds, here)
        if wide > bound.within_milliseconds:
            told.append((bound.within_milliseconds, wide))
        bounds.append(replace(bound, within_milliseconds=wide))
    return of_workload(
        ill,
        "latency",
        ", ".join(f"{was:.15g} ms" for was, _ in told),
        ", ".join(f"{becomes:.15g} ms" for _, becomes in told),
        replace(ill.demand, latency=tuple(bounds)),
    )


def measured(ill: Ill) -> Step | None:
    """A report that knows the round trips that are asked for, and that they are short enough."""
    known = {each.to for each in ill.facts.status.rtt} | {ill.facts.name}
    figures, told = list(ill.facts.status.rtt), []
    for bound in ill.demand.latency:
        within = bound.within_milliseconds
        for target in targets_of(ill.case.fleet, bound.from_):
            if target not in known:
                known.add(target)
                figures.append(Rtt(to=target, milliseconds=within, origin="measured"))
                told.append(f"{within:g} ms or less to {target}")
    if not told:
        return None
    status = replace(ill.facts.status, rtt=tuple(figures))
    return of_site(ill, "rtt", "", ", ".join(told), replace(ill.facts, status=status))


def report(ill: Ill) -> Step | None:
    """A report from now."""
    status = replace(ill.facts.status, observed_at=ill.case.moment.now, conditions=())
    was = ill.facts.observed_at.isoformat() if ill.facts.observed_at else "never"
    return of_site(ill, "report", was, "a report from now", replace(ill.facts, status=status))


def cordon(ill: Ill) -> Step | None:
    """A site that is open again."""
    spec = replace(ill.facts.spec, cordon=False)
    return of_site(ill, "cordon", "true", "false", replace(ill.facts, spec=spec))


def executor(ill: Ill) -> Step | None:
    """An agent that applies orders."""
    kinds = ill.facts.status.api_kinds or None
    status = replace(ill.facts.status, executor=True, api_kinds=kinds)
    return of_site(ill, "executor", "false", "true", replace(ill.facts, status=status))


def api_kind(ill: Ill) -> Step | None:
    """A cluster that serves the kinds: their definitions are installed there."""
    had = ill.facts.status.api_kinds or ()
    missing = [each for each in ill.demand.api_kinds if each not in had]
    status = replace(ill.facts.status, api_kinds=(*had, *missing))
    return of_site(ill, "apiKinds", "", ", ".join(missing), replace(ill.facts, status=status))


def companion(ill: Ill) -> Step | None:
    """Affinity to other workloads as a wish, not a must."""
    wished = tuple(replace(each, required=False) for each in ill.demand.companions)
    return of_workload(
        ill, "affinity", "required", "preferred", replace(ill.demand, companions=wished)
    )


REMEDIES: dict[str, Callable[[Ill], Step | None]] = {
    "data-class-missing": rights.data_class_missing,
    "has-grant": rights.first_grant,
    "grant-expired": rights.valid_dates,
    "data-class": rights.data_class,
    "protection-level": rights.level,
    "network-zone": rights.zones,
    "jurisdiction": rights.jurisdiction,
    "dedicated-pool": rights.pool,
    "not-allowed": rights.allow_list,
    "cpu-vendor": rights.cpu_vendor,
    "architecture": nodes.architecture,
    "node-taint": nodes.node_taint,
    "taint": taint,
    "taint-time": taint,
    "site-limits": namespace_limits,
    "node-selector": nodes.node_selector,
    "selector": selector,
    "site-group": site_group,
    "weighted": weighted,
    "too-far": nearer,
    "latency-unknown": measured,
    "stale": report,
    "silent": report,
    "cordoned": cordon,
    "no-executor": executor,
    "api-kind": api_kind,
    "companion": companion,
}
"""By the name of the rule: what would satisfy it."""
