"""Checks for demands that no site could ever meet; each refusal says what to write instead."""

from collections.abc import Iterator, Sequence
from math import ceil

from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.demand.identity import check_identity
from scheduler.model.jurisdictions import problem_of
from scheduler.model.kinds.policy import Spread
from scheduler.model.kinds.tenant import Tenant
from scheduler.model.kinds.workload import Workload
from scheduler.model.rollout.groups_checked import problem_of_groups


def find_contradictions(
    workload: Workload, demand: Demand, tenant: Tenant | None, scalables: Sequence[str]
) -> Iterator[NotAccepted]:
    """Finds what is impossible whatever the sites are like, worst first.

    Args:
        workload: the object.
        demand: the demand resolved from it.
        tenant: the tenant that owns its namespace.
        scalables: the manifests that `spec.replicas` could scale, as `KIND NAME`.
    """
    yield from _check_content(workload)
    yield from _check_jurisdictions(workload, demand, tenant)
    yield from _check_replicas(workload, scalables)
    yield from _check_selectors(demand)
    yield from _check_priority(workload, tenant)
    yield from _check_preset(demand)
    yield from check_identity(demand, workload)
    yield from _check_site_groups(demand)
    required = [rule for rule in demand.spread if rule.required]
    named_sites = _count_named_sites(demand)
    for rule in required:
        yield from _check_spread(rule, demand)
        yield from _check_named_sites(rule, demand, named_sites)
    yield from _check_spread_pairs(required)
    yield from _check_weights(demand)
    yield from _check_schedule(demand)
    yield from _check_rollout(workload, demand)


def _check_content(workload: Workload) -> Iterator[NotAccepted]:
    if not workload.spec.manifests and workload.spec.demand is None:
        yield NotAccepted(
            reason="invalid",
            condition="NothingToRun",
            message="spec: nothing to run; write manifests or demand",
        )


def _check_jurisdictions(
    workload: Workload, demand: Demand, tenant: Tenant | None
) -> Iterator[NotAccepted]:
    for place in workload.spec.jurisdictions:
        problem = problem_of(place)
        if problem:
            yield NotAccepted(
                reason="jurisdiction",
                condition="InvalidJurisdiction",
                message=f"spec.jurisdictions: {problem}",
            )
    if tenant is not None and demand.same_province and (problem := problem_of(demand.home)):
        yield NotAccepted(
            reason="jurisdiction",
            condition="InvalidJurisdiction",
            message=f"spec.jurisdiction of tenant {tenant.metadata.name}: {problem}",
        )


def _check_replicas(workload: Workload, scalables: Sequence[str]) -> Iterator[NotAccepted]:
    spec = workload.spec
    if spec.replicas is None or spec.demand is not None or len(scalables) == 1:
        return
    if len(scalables) > 1 or (spec.manifests and spec.replicas > 1):
        there = ", ".join(scalables) or "none"
        yield NotAccepted(
            reason="invalid",
            condition="NothingToScale",
            message=f"spec.replicas needs exactly one scalable manifest, found: {there}; "
            "leave spec.replicas out or split the workload",
        )


def _check_selectors(demand: Demand) -> Iterator[NotAccepted]:
    """Finds operators with missing or superfluous values, which Kubernetes refuses too."""
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
    yield from _check_label_values(demand)


def _check_label_values(demand: Demand) -> Iterator[NotAccepted]:
    """Finds labels for which workload, policies and tenant require different values."""
    wanted: dict[str, set[str]] = {}
    for selector in (*demand.site_selectors, demand.tenant_sites):
        asked = [(key, {value}) for key, value in selector.match_labels.items()]
        asked += [
            (each.key, set(each.values))
            for each in selector.match_expressions
            if each.operator == "In"
        ]
        for key, values in asked:
            allowed = wanted.get(key, values)
            if not allowed & values:
                conflicting_values = " and in ".join(
                    f"({', '.join(sorted(each))})" for each in (allowed, values)
                )
                yield NotAccepted(
                    reason="selector",
                    condition="SelectorImpossible",
                    message="spec.placement.siteSelector, together with policies and tenant: "
                    f"no site can have {key} in {conflicting_values}",
                )
            wanted[key] = allowed & values


def _check_priority(workload: Workload, tenant: Tenant | None) -> Iterator[NotAccepted]:
    highest = tenant.spec.max_priority if tenant else None
    if tenant is not None and highest is not None and workload.spec.priority > highest:
        yield NotAccepted(
            reason="not-allowed",
            condition="PriorityTooHigh",
            message=f"spec.priority: {workload.spec.priority} is above maxPriority of "
            f"tenant {tenant.metadata.name}; write {highest} or less",
        )


def _check_preset(demand: Demand) -> Iterator[NotAccepted]:
    if demand.preset == "two-places-three-centres" and demand.replicas == 1:
        yield NotAccepted(
            reason="spread",
            condition="SpreadImpossible",
            message=f"spec.placement.preset: an active pair of {demand.preset} needs two replicas; "
            "write 2 or more",
        )


def _check_spread(rule: Spread, demand: Demand) -> Iterator[NotAccepted]:
    where = f"spec.placement.spread (by {rule.by})"
    highest, each = rule.max_groups, rule.max_per_group
    problem = ""
    if demand.strategy == "Duplicated" and each is not None and each < demand.replicas:
        problem = (
            f"Duplicated places {demand.replicas} replicas at each site, "
            f"maxPerGroup allows {each}; write maxPerGroup: {demand.replicas} or replicas: {each}"
        )
    elif highest is not None and rule.min_groups > highest:
        problem = (
            f"minGroups {rule.min_groups} is more than maxGroups {highest}; "
            f"write minGroups: {highest} or maxGroups: {rule.min_groups}"
        )
    elif demand.strategy != "Duplicated" and 0 < demand.replicas < rule.min_groups:
        problem = (
            f"{demand.replicas} replicas cannot be spread over {rule.min_groups} groups; "
            f"write replicas: {rule.min_groups} or minGroups: {demand.replicas}"
        )
    elif highest is not None and each is not None and highest * each < demand.replicas:
        problem = (
            f"{highest} groups of at most {each} hold {highest * each} replicas, "
            f"not {demand.replicas}; write replicas: {highest * each}, "
            f"maxGroups: {ceil(demand.replicas / each)} "
            f"or maxPerGroup: {ceil(demand.replicas / highest)}"
        )
    if problem:
        yield NotAccepted(
            reason="spread", condition="SpreadImpossible", message=f"{where}: {problem}"
        )


def _count_named_sites(demand: Demand) -> int | None:
    """The number of sites that are named or hold replicas; None: no list limits the sites."""
    bounds: list[set[str]] = []
    if demand.strategy == "Weighted" and demand.weights:
        bounds.append({each.site for each in demand.weights if each.weight})
    if demand.site_groups and all(each.site_selector is None for each in demand.site_groups):
        bounds.append({name for each in demand.site_groups for name in each.sites})
    runs = {each.site for each in demand.placed}
    return len(set.intersection(*bounds) | runs) if bounds else None


def _check_named_sites(
    rule: Spread, demand: Demand, named_sites: int | None
) -> Iterator[NotAccepted]:
    """Finds a spread over more groups than named sites; a site is in one group of each kind."""
    if named_sites is None or not demand.replicas:
        return
    each = rule.max_per_group
    problem = ""
    if rule.min_groups > named_sites:
        fewer = f" or write minGroups: {named_sites}" if named_sites else ""
        problem = (
            f"weights and siteGroups name {named_sites} sites, minGroups is {rule.min_groups}; "
            f"name more of them{fewer}"
        )
    elif (
        each is not None
        and demand.strategy != "Duplicated"
        and each * named_sites < demand.replicas
    ):
        problem = (
            f"the {named_sites} sites of weights and siteGroups, at most {each} in each group, "
            f"do not hold {demand.replicas}; name more of them or write "
            f"replicas: {each * named_sites}"
        )
    if problem:
        yield NotAccepted(
            reason="spread",
            condition="SpreadImpossible",
            message=f"spec.placement.spread (by {rule.by}): {problem}",
        )


def _check_site_groups(demand: Demand) -> Iterator[NotAccepted]:
    names = [each.name for each in demand.site_groups]
    duplicate = next((name for name in names if names.count(name) > 1), None)
    if duplicate is not None:
        yield NotAccepted(
            reason="invalid",
            condition="InvalidGroups",
            message=f"spec.placement.siteGroups: {duplicate} is listed twice; "
            "group names must be unique, because placement resumes at a group by its name",
        )


def _check_spread_pairs(required: Sequence[Spread]) -> Iterator[NotAccepted]:
    """Finds two levels that contradict each other.

    A site is in one group of each kind, so there are at most as many groups as sites.
    """
    for limiting in required:
        for demanding in required:
            most = limiting.max_groups
            if limiting.by not in ("site", demanding.by) or limiting is demanding or most is None:
                continue
            if demanding.min_groups > most >= limiting.min_groups:
                yield NotAccepted(
                    reason="spread",
                    condition="SpreadImpossible",
                    message=f"spec.placement.spread: minGroups {demanding.min_groups} "
                    f"by {demanding.by} is more than maxGroups {most} by {limiting.by} allows; "
                    f"write minGroups: {most} or maxGroups: {demanding.min_groups}",
                )


def _check_weights(demand: Demand) -> Iterator[NotAccepted]:
    if demand.strategy != "Weighted" or not demand.weights:
        return
    names = [each.site for each in demand.weights]
    duplicate = next((name for name in names if names.count(name) > 1), None)
    if duplicate is not None:
        problem = f"{duplicate} is listed twice"
    elif not any(each.weight for each in demand.weights):
        problem = "every weight is 0; set at least one above 0"
    else:
        return
    yield NotAccepted(
        reason="invalid", condition="InvalidWeights", message=f"spec.placement.weights: {problem}"
    )


def _check_schedule(demand: Demand) -> Iterator[NotAccepted]:
    earliest, deadline = demand.schedule.earliest, demand.schedule.deadline
    if earliest is None or deadline is None:
        return
    seconds, between = demand.schedule.duration_seconds or 0, (deadline - earliest).total_seconds()
    problem = ""
    if between <= 0:
        problem = "the deadline is not after earliest; write a later deadline"
    elif between < seconds:
        problem = (
            f"{seconds} s of work do not fit into the {between:.0f} s between earliest and "
            f"deadline; write a deadline that is {seconds - between:.0f} s later"
        )
    if problem:
        yield NotAccepted(
            reason="deadline",
            condition="DeadlineImpossible",
            message=f"spec.schedule: {problem}",
        )


def _check_rollout(workload: Workload, demand: Demand) -> Iterator[NotAccepted]:
    """Finds groups of a rollout that take no site, the same ones, or more than all."""
    rollout = workload.spec.rollout
    if rollout is None:
        return
    problem = problem_of_groups(rollout.groups)
    if demand.identity == "Ranges":
        problem = "numbered pods in ranges (placement.identity: Ranges) change at all sites at once"
    if problem:
        message = f"spec.rollout: {problem}"
        yield NotAccepted(reason="invalid", condition="InvalidRollout", message=message)
