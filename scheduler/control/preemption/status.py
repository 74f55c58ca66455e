"""What a status says of preemption: what ends for a workload, and what ended of it. Pure."""

from datetime import datetime

import msgspec

from scheduler.control.status.conditions import (
    MAX_SITES_LISTED,
    find_condition,
    set_condition,
)
from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand
from scheduler.model.formatters import format_list
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.workload import PreemptingVictim, PreemptionStatus, WorkloadStatus

PREEMPTED = "Preempted"
"""Condition: replicas ended for another workload; stays until all that are asked for run again."""


def with_preemption(
    status: WorkloadStatus, decision: Decision, generation: int, now: datetime
) -> WorkloadStatus:
    """The status with what ends for the workload by a decision; nothing does by any other one.

    Args:
        status: after the decision.
        decision: the decision.
        generation: of the spec that it is about.
        now: when it was made.
    """
    if decision.preemption is None:
        if not status.preempting and status.preemption is None:
            return status
        return msgspec.structs.replace(status, preempting=(), preemption=None)
    victims = tuple(
        PreemptingVictim(
            workload=one.workload,
            site=one.site,
            replicas=one.replicas,
            keep=one.keep,
            priority=one.priority,
            reclaimed=one.reclaimed,
        )
        for one in decision.preemption.victims
    )
    place = {one.site: one.replicas for one in decision.preemption.place}
    info = PreemptionStatus(since=now, generation=generation, place=place)
    return msgspec.structs.replace(status, preempting=victims, preemption=info)


def with_preempted(
    status: WorkloadStatus, demand: Demand, decision: Decision, now: datetime
) -> WorkloadStatus:
    """The status with the condition that names the workload for which replicas ended."""
    texts = [
        f"{decision.preempted[one.site]} at {one.site} ({one.because})"
        for one in demand.preempted
        if decision.preempted.get(one.site)
    ]
    if not texts:
        return status
    is_reclaimed = all(one.reclaimed for one in demand.preempted)
    condition = Condition(
        type=PREEMPTED,
        status="True",
        reason="Reclaimed" if is_reclaimed else "Preempted",
        message=f"replicas ended: {format_list(texts, MAX_SITES_LISTED)}",
    )
    return set_condition(status, condition, PREEMPTED, now)


def without_settled_preemption(status: WorkloadStatus, now: datetime) -> WorkloadStatus:
    """The status without the condition, once all replicas are placed and run again."""
    if find_condition(status.conditions, PREEMPTED) is None:
        return status
    if status.phase in ("Running", "Completed"):
        return set_condition(status, None, PREEMPTED, now)
    return status
