"""Whether a decision is due, on which demand, and whether its result is new. Pure."""

from collections.abc import Iterator, Mapping

import msgspec

from scheduler.control.status.conditions import (
    find_condition,
    is_spec_changed,
    is_unplaced,
    rules_condition,
)
from scheduler.control.status.migration import SiteShare, has_unreplaced, shares_in
from scheduler.control.status.workload import plan_of
from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand, PlacedReplicas
from scheduler.model.demand.placed import at_its_claims
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.workload import Workload, WorkloadStatus


def is_decision_due(workload: Workload, *, needs_redecision: bool) -> bool:
    """Whether an accepted workload needs a decision.

    Args:
        workload: as the hub holds it.
        needs_redecision: something that affects what runs may have changed.
    """
    status = workload.status
    if is_spec_changed(workload):
        return True
    if status.phase == "Completed":  # never runs again; but a rule may end what is left of it
        return needs_redecision and bool(status.placement.groups)
    if needs_redecision or not status.placement.groups or is_unplaced(status):
        return True
    return has_unreplaced(shares_in(status.placement.groups))


def demand_to_decide(workload: Workload, demand: Demand, *, is_policy_changed: bool) -> Demand:
    """The demand of a decision that is due.

    The mode Fresh computes the placement without regard to the present one, but only after a change
    of the workload or its policy, and until that was possible; after a taint, a grant or a restart
    it acts as Steady. A completed workload is not placed again.

    Args:
        workload: as the hub holds it.
        demand: the demand of its spec.
        is_policy_changed: whether its policy has changed.
    """
    status = workload.status
    demand = at_its_claims(workload, demand)
    if is_spec_changed(workload) or not status.placement.groups:
        return demand
    if status.phase == "Completed":
        return msgspec.structs.replace(demand, mode="Steady", paused=True)
    if demand.mode == "Fresh" and not is_policy_changed and not is_unplaced(status):
        return msgspec.structs.replace(demand, mode="Steady")
    return demand


def demand_to_recheck(workload: Workload, former: Demand) -> Demand:
    """The demand to check what runs of a workload whose spec is no longer accepted.

    Args:
        workload: as the hub holds it.
        former: the demand of the newest decision about it.
    """
    placed = tuple(
        PlacedReplicas(site=site, replicas=group.replicas, phase=group.phase)
        for group in workload.status.placement.groups
        if group.replicas
        for site in group.sites
    )
    return msgspec.structs.replace(
        former, placed=placed, mode="Steady", paused=True, evicted=(), evicted_keep={}, unready=()
    )


def ends_or_violates(status: WorkloadStatus, decision: Decision) -> bool:
    """Whether a decision ends something that runs, or finds other violations than before."""
    shares = shares_in(status.placement.groups)
    if shares.keys() & set(decision.ended):
        return True
    if any(one.violates != decision.violations.get(site, "") for site, one in shares.items()):
        return True
    former = find_condition(status.conditions, "RulesMet")
    rules = rules_condition(decision, former)
    return _shown_by(rules) != _shown_by(former)


def cannot_wait(status: WorkloadStatus, decision: Decision) -> bool:
    """Whether a decision is carried out although some sites have not reported since a start.

    It ends what runs, or finds a right that is broken since, or moves replicas that may not stay.
    None of that depends on what a site reports.

    Args:
        status: the status until now.
        decision: what would be decided now.
    """
    shares = shares_in(status.placement.groups)
    if shares.keys() & set(decision.ended):
        return True
    if any(why and shares[site].violates != why for site, why in _violations(shares, decision)):
        return True
    decided = {one.site for one in decision.assignment if one.replicas > 0}
    return decision.phase == "Placed" and any(
        one.replicas and site not in decided for site, one in shares.items()
    )


def _violations(shares: Mapping[str, SiteShare], decision: Decision) -> Iterator[tuple[str, str]]:
    return ((site, why) for site, why in decision.violations.items() if site in shares)


def _shown_by(condition: Condition | None) -> tuple[str, ...]:
    return () if condition is None else (condition.status, condition.reason, condition.message)


def is_unchanged(workload: Workload, status: WorkloadStatus, decision: Decision) -> bool:
    """Whether a decision has the same result as the one that is recorded already.

    Args:
        workload: as the hub holds it.
        status: its status, with the placement that was adopted from sites, if any.
        decision: the new decision.
    """
    placed = find_condition(status.conditions, "Placed")
    if status.decision is None or placed is None or is_spec_changed(workload):
        return False
    accepted = find_condition(status.conditions, "Accepted")
    if accepted is not None and accepted.status != "True":
        return False  # refused since, by a tenant or a policy that was missing
    if ends_or_violates(status, decision):
        return False
    shares = shares_in(status.placement.groups)
    if has_unreplaced(shares):
        return False
    runs = {site: one.replicas for site, one in shares.items() if one.replicas}
    decided = {one.site: one.replicas for one in decision.assignment if one.replicas > 0}
    if runs != decided or placed.reason != decision.phase:
        return False
    is_same_wait = status.decision.line == decision.line and plan_of(decision) == status.plan
    return decision.phase == "Placed" or is_same_wait
