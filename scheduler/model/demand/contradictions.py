"""What no site could ever meet: refused before a decision is tried, with what to write instead."""

from collections.abc import Iterator, Sequence

from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.jurisdictions import WRITTEN_AS
from scheduler.model.kinds.policy import Spread
from scheduler.model.kinds.tenant import Tenant
from scheduler.model.kinds.workload import Workload


def contradictions(
    workload: Workload, demand: Demand, tenant: Tenant | None, scalables: Sequence[str]
) -> Iterator[NotAccepted]:
    """Everything that can be known to be impossible without looking at a site, worst first."""
    yield from _content(workload)
    yield from _jurisdictions(workload)
    yield from _replicas(workload, scalables)
    yield from _selectors(demand)
    yield from _priority(workload, tenant)
    yield from _preset(demand)
    yield from _groups(demand)
    required = [rule for rule in demand.spread if rule.required]
    named = _named(demand)
    for rule in required:
        yield from _spread(rule, demand)
        yield from _too_few(rule, demand, named)
    yield from _spreads(required)
    yield from _division(demand)
    yield from _schedule(demand)


def _content(workload: Workload) -> Iterator[NotAccepted]:
    if not workload.spec.manifests and workload.spec.demand is None:
        yield NotAccepted(
            reason="invalid",
            condition="NothingToRun",
            message="spec: there is nothing to run; write manifests, or a demand",
        )


def _jurisdictions(workload: Workload) -> Iterator[NotAccepted]:
    for place in workload.spec.jurisdictions:
        if place in WRITTEN_AS:
            yield NotAccepted(
                reason="jurisdiction",
                condition="InvalidJurisdiction",
                message=f"spec.jurisdictions: {place} is not how it is written; "
                f"write {WRITTEN_AS[place]} (CN and CN-… are the mainland)",
            )


def _replicas(workload: Workload, scalables: Sequence[str]) -> Iterator[NotAccepted]:
    spec = workload.spec
    if spec.replicas is None or spec.demand is not None or len(scalables) == 1:
        return
    if len(scalables) > 1 or (spec.manifests and spec.replicas > 1):
        there = ", ".join(scalables) or "none"
        yield NotAccepted(
            reason="invalid",
            condition="NothingToScale",
            message=f"spec.replicas needs exactly one scalable manifest, there is: {there}; "
            "leave spec.replicas out or split the workload",
        )


def _selectors(demand: Demand) -> Iterator[NotAccepted]:
    """Operators and values that do not go together, which Kubernetes refuses too."""
    named = [("siteSelector", each) for each in demand.site_selectors]
    named += [
        (f"siteGroups ({group.name})", group.site_selector)
        for group in demand.site_groups
        if group.site_selector is not None
    ]
    for where, selector in named:
        for each in selector.match_expressions:
            needs = each.operator in ("In", "NotIn")
            if needs != bool(each.values):
                yield NotAccepted(
                    reason="invalid",
                    condition="InvalidSelector",
                    message=f"spec.placement.{where}: {each.key} {each.operator} "
                    + ("needs values" if needs else "takes no values; leave them out"),
                )
    yield from _values(demand)


def _values(demand: Demand) -> Iterator[NotAccepted]:
    """Labels that the workload, its policies and its tenant want to have different values."""
    wanted: dict[str, set[str]] = {}
    for selector in (*demand.site_selectors, demand.tenant_sites):
        asked = [(key, {value}) for key, value in selector.match_labels.items()]
        asked += [
            (each.key, set(each.values))
            for each in selector.match_expressions
            if each.operator == "In"
        ]
        for key, values in asked:
            had = wanted.get(key, values)
            if not had & values:
                told = " and also ".join(" or ".join(sorted(each)) for each in (had, values))
                yield NotAccepted(
                    reason="selector",
                    condition="SelectorImpossible",
                    message=f"spec.placement.siteSelector, with those of policies and tenant: "
                    f"no site has {key} {told}",
                )
            wanted[key] = had & values


def _priority(workload: Workload, tenant: Tenant | None) -> Iterator[NotAccepted]:
    highest = tenant.spec.max_priority if tenant else None
    if tenant is not None and highest is not None and workload.spec.priority > highest:
        yield NotAccepted(
            reason="not-allowed",
            condition="PriorityTooHigh",
            message=f"spec.priority: {workload.spec.priority} is more than tenant "
            f"{tenant.metadata.name} may use; write {highest} or less",
        )


def _preset(demand: Demand) -> Iterator[NotAccepted]:
    if demand.preset == "two-places-three-centres" and demand.replicas == 1:
        yield NotAccepted(
            reason="spread",
            condition="SpreadImpossible",
            message=f"spec.placement.preset: an active pair of {demand.preset} needs two replicas; "
            "write 2 or more",
        )


def _spread(rule: Spread, demand: Demand) -> Iterator[NotAccepted]:
    where = f"spec.placement.spread (by {rule.by})"
    highest, each = rule.max_groups, rule.max_per_group
    problem = ""
    if demand.strategy == "Duplicated" and each is not None and each < demand.replicas:
        problem = f"Duplicated puts {demand.replicas} replicas at a site, maxPerGroup allows {each}"
    elif highest is not None and rule.min_groups > highest:
        problem = f"minGroups {rule.min_groups} is more than maxGroups {highest}"
    elif demand.strategy != "Duplicated" and 0 < demand.replicas < rule.min_groups:
        problem = f"{demand.replicas} replicas cannot stand in {rule.min_groups} groups"
    elif highest is not None and each is not None and highest * each < demand.replicas:
        problem = (
            f"{highest} groups of at most {each} hold {highest * each} replicas, "
            f"not {demand.replicas}"
        )
    if problem:
        yield NotAccepted(
            reason="spread", condition="SpreadImpossible", message=f"{where}: {problem}"
        )


def _named(demand: Demand) -> int | None:
    """How many sites weights and groups name, or it runs at; None: sites may join."""
    bounds: list[set[str]] = []
    if demand.strategy == "Weighted" and demand.weights:
        bounds.append({each.site for each in demand.weights if each.weight})
    if demand.site_groups and all(each.site_selector is None for each in demand.site_groups):
        bounds.append({name for each in demand.site_groups for name in each.sites})
    runs = {each.site for each in demand.placed}
    return len(set.intersection(*bounds) | runs) if bounds else None


def _too_few(rule: Spread, demand: Demand, named: int | None) -> Iterator[NotAccepted]:
    """A spread over more places than sites are named; a site is in one place of each kind."""
    if named is None or not demand.replicas:
        return
    each = rule.max_per_group
    problem = ""
    if rule.min_groups > named:
        problem = f"weights and siteGroups name {named} sites, minGroups is {rule.min_groups}"
    elif each is not None and demand.strategy != "Duplicated" and each * named < demand.replicas:
        problem = (
            f"the {named} sites of weights and siteGroups, at most {each} in each group, "
            f"do not hold {demand.replicas}"
        )
    if problem:
        yield NotAccepted(
            reason="spread",
            condition="SpreadImpossible",
            message=f"spec.placement.spread (by {rule.by}): {problem}",
        )


def _groups(demand: Demand) -> Iterator[NotAccepted]:
    names = [each.name for each in demand.site_groups]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        yield NotAccepted(
            reason="invalid",
            condition="InvalidGroups",
            message=f"spec.placement.siteGroups: {twice} stands there twice; "
            "placement resumes at a group by its name",
        )


def _spreads(required: Sequence[Spread]) -> Iterator[NotAccepted]:
    """Two levels that contradict each other: no more groups of any kind than sites are used."""
    for narrow in required:
        for wide in required:
            most = narrow.max_groups
            if narrow.by not in ("site", wide.by) or narrow is wide or most is None:
                continue
            if wide.min_groups > most >= narrow.min_groups:
                yield NotAccepted(
                    reason="spread",
                    condition="SpreadImpossible",
                    message=f"spec.placement.spread: by {wide.by} minGroups {wide.min_groups} "
                    f"needs more than by {narrow.by} maxGroups {most} allows",
                )


def _division(demand: Demand) -> Iterator[NotAccepted]:
    if demand.strategy != "Weighted" or not demand.weights:
        return
    names = [each.site for each in demand.weights]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        problem = f"{twice} stands there twice"
    elif not any(each.weight for each in demand.weights):
        problem = "every weight is 0; give at least one site more"
    else:
        return
    yield NotAccepted(
        reason="invalid", condition="InvalidWeights", message=f"spec.placement.weights: {problem}"
    )


def _schedule(demand: Demand) -> Iterator[NotAccepted]:
    earliest, deadline = demand.schedule.earliest, demand.schedule.deadline
    if earliest is None or deadline is None:
        return
    seconds, between = demand.schedule.duration_seconds or 0, (deadline - earliest).total_seconds()
    problem = ""
    if between <= 0:
        problem = "the deadline is not after earliest"
    elif between < seconds:
        problem = (
            f"{seconds} s of work do not fit into the {between:.0f} s between earliest and deadline"
        )
    if problem:
        yield NotAccepted(
            reason="deadline",
            condition="DeadlineImpossible",
            message=f"spec.schedule: {problem}",
        )
