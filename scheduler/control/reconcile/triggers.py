"""Whether a decision is due, what it is asked, and whether it says anything new. Pure."""

import msgspec

from scheduler.control.status.migration import shares_in
from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand, PlacedReplicas
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.workload import Workload, WorkloadStatus


def is_decision_due(workload: Workload, *, needs_redecision: bool) -> bool:
    """Whether a workload that is accepted needs a decision.

    Args:
        workload: as the hub has it.
        needs_redecision: something that bears on what runs may have changed.
    """
    status = workload.status
    if is_spec_changed(workload):
        return True
    if status.phase == "Completed":  # never run again; but a right may end what it left there
        return needs_redecision and bool(status.placement.groups)
    return needs_redecision or not status.placement.groups or is_unplaced(status)


def is_spec_changed(workload: Workload) -> bool:
    """Whether the spec is another one than at the last decision."""
    return workload.status.observed_generation != workload.metadata.generation


def is_unplaced(status: WorkloadStatus) -> bool:
    """Whether the last decision could not place all that was asked."""
    placed = _placed_condition(status)
    return placed is not None and placed.status == "False"


def demand_to_decide(workload: Workload, demand: Demand, *, is_policy_changed: bool) -> Demand:
    """The demand of a decision that is due.

    Fresh starts over when somebody asks for it: by a change of the workload or of its policy, and
    until that could be done. A taint, a grant or a restart is no such wish. What has finished is
    not placed again.

    Args:
        workload: as the hub has it.
        demand: of its spec.
        is_policy_changed: its policy has changed.
    """
    status = workload.status
    if is_spec_changed(workload) or not status.placement.groups:
        return demand
    if status.phase == "Completed":
        return msgspec.structs.replace(demand, mode="Steady", paused=True)
    if demand.mode == "Fresh" and not is_policy_changed and not is_unplaced(status):
        return msgspec.structs.replace(demand, mode="Steady")
    return demand


def demand_to_recheck(workload: Workload, former: Demand) -> Demand:
    """The demand by which what runs of a workload is judged that is not accepted any more.

    Args:
        workload: as the hub has it.
        former: of the newest decision about it.
    """
    placed = tuple(
        PlacedReplicas(site=site, replicas=group.replicas, phase=group.phase)
        for group in workload.status.placement.groups
        for site in group.sites
    )
    return msgspec.structs.replace(former, placed=placed, mode="Steady", paused=True)


def ends_or_violates(status: WorkloadStatus, decision: Decision) -> bool:
    """Whether a decision ends something that runs, or finds other rights broken than before."""
    shares = shares_in(status.placement.groups)
    if shares.keys() & set(decision.ended):
        return True
    return any(one.violates != decision.violations.get(site, "") for site, one in shares.items())


def is_unchanged(workload: Workload, status: WorkloadStatus, decision: Decision) -> bool:
    """Whether a record of this decision would say nothing new.

    Args:
        workload: as the hub has it.
        status: its status, or what it becomes by adopting what sites run.
        decision: the new one.
    """
    placed = _placed_condition(status)
    if status.decision is None or placed is None or is_spec_changed(workload):
        return False
    if ends_or_violates(status, decision):
        return False
    shares = shares_in(status.placement.groups)
    runs = {site: one.replicas for site, one in shares.items() if one.replicas}
    decided = {one.site: one.replicas for one in decision.assignment if one.replicas > 0}
    if runs != decided or placed.reason != decision.phase:
        return False
    return decision.phase == "Placed" or status.decision.line == decision.line


def _placed_condition(status: WorkloadStatus) -> Condition | None:
    return next((one for one in status.conditions if one.type == "Placed"), None)
