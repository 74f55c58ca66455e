"""What would satisfy the other rules at one site: changes to it, or to what is asked of it."""

from collections.abc import Callable

import numpy as np
from msgspec.structs import replace

from scheduler.model.decision import Change
from scheduler.model.fields import LabelSelector, Toleration, holds
from scheduler.model.policy import SiteWeight
from scheduler.model.site import Rtt
from scheduler.placement import remedy_rights as rights
from scheduler.placement.distance import milliseconds_to, targets_of
from scheduler.placement.labels import site_labels
from scheduler.placement.trial import Ill, Step, of_site, of_workload


def architecture(ill: Ill) -> Step | None:
    """Images for a processor that the site has."""
    had = ill.demand.architectures
    there = sorted({each.architecture for each in ill.facts.status.node_classes} - {""})
    if not there:
        return None
    more = tuple(sorted({*had, there[0]}))
    was, becomes = (", ".join(f"linux/{each}" for each in names) for names in (had, more))
    return of_workload(ill, "imagePlatforms", was, becomes, replace(ill.demand, architectures=more))


def taint(ill: Ill) -> Step | None:
    """Tolerations of the site's taints."""
    taints = ill.facts.spec.taints
    told = ", ".join(f"{each.key}={each.value}:{each.effect}" for each in taints)
    bearing = tuple(
        Toleration(key=each.key, operator="Equal", value=each.value, effect=each.effect)
        for each in taints
    )
    had = tuple(  # a limit in seconds would still bind
        each
        for each in ill.demand.site_tolerations
        if not any(each.tolerates(one) for one in taints)
    )
    return of_workload(
        ill, "siteTolerations", "", told, replace(ill.demand, site_tolerations=(*had, *bearing))
    )


def namespace_limits(ill: Ill) -> Step | None:
    """A namespace at the site without the limits that it reports."""
    name, status = ill.demand.namespace, ill.facts.status
    rest = tuple(each for each in status.namespaces if each.name != name)
    told = f"the limits of namespace {name}"
    facts = replace(ill.facts, status=replace(status, namespaces=rest))
    return of_site(ill, "namespaces", told, "", facts)


def node_taint(ill: Ill) -> Step | None:
    """Tolerations of the taints of the nodes with the fewest."""
    kinds = [each for each in ill.facts.status.node_classes if each.taints]
    if not kinds:
        return None
    taints = min(kinds, key=lambda each: len(each.taints)).taints
    told = ", ".join(f"{each.key}={each.value}:{each.effect}" for each in taints)
    bearing = tuple(
        Toleration(key=each.key, operator="Equal", value=each.value, effect=each.effect)
        for each in taints
    )
    unit = tuple(
        replace(pods, shape=replace(pods.shape, tolerations=(*pods.shape.tolerations, *bearing)))
        for pods in ill.demand.unit
    )
    return of_workload(ill, "tolerations", "", told, replace(ill.demand, unit=unit))


def node_selector(ill: Ill) -> Step | None:
    """Pods that do not choose their nodes."""
    shapes = [pods.shape for pods in ill.demand.unit]
    labels = {key: value for each in shapes for key, value in each.node_selector.items()}
    models = sorted({model for each in shapes for model in each.gpu_models})
    told = [f"{key}={value}" for key, value in sorted(labels.items())] + models
    freed = [replace(each, node_selector={}, node_affinity=(), gpu_models=()) for each in shapes]
    unit = tuple(
        replace(pods, shape=shape) for pods, shape in zip(ill.demand.unit, freed, strict=True)
    )
    was = ", ".join(told) or "node affinity"
    return of_workload(ill, "nodeSelector", was, "", replace(ill.demand, unit=unit))


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
        wide = max(bound.within_milliseconds, float(np.ceil(here * 10) / 10))
        if wide > bound.within_milliseconds:
            told.append((bound.within_milliseconds, wide))
        bounds.append(replace(bound, within_milliseconds=wide))
    return of_workload(
        ill,
        "latency",
        ", ".join(f"{was:g} ms" for was, _ in told),
        ", ".join(f"{becomes:g} ms" for _, becomes in told),
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
    "architecture": architecture,
    "node-taint": node_taint,
    "taint": taint,
    "taint-time": taint,
    "site-limits": namespace_limits,
    "node-selector": node_selector,
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
