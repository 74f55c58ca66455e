"""What a drain would move, by the same engine and the same plan as the scheduler's. Pure."""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from scheduler.cli.moving.moves import moves_between
from scheduler.cli.support.offline_input import (
    OfflineDecision,
    decide_one,
    fleet_of,
    follow,
    input_of_objects,
)
from scheduler.control.ports.hub import Object
from scheduler.control.status.migration import shares_in
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.movability import needs_force_because
from scheduler.model.kinds.site import Drain
from scheduler.model.kinds.workload import Workload
from scheduler.model.manifests.budgets import disruption_budget
from scheduler.placement.failover.drain import DrainCandidate, drain_order, why_not_at_all

Rows = list[dict[str, object]]


def preview_drain(
    objects: Iterable[Object], site: str, *, is_forced: bool, now: datetime
) -> tuple[Rows, Rows]:
    """The moves of a whole drain, whatever steps it takes, and what it could not move.

    Args:
        objects: all objects of the hub.
        site: the site to be emptied.
        is_forced: as `kapok site drain --force`.
        now: the time of the decisions.
    """
    inputs = input_of_objects(objects)
    inputs.sites[:] = [
        msgspec.structs.replace(
            one, spec=msgspec.structs.replace(one.spec, cordon=True, drain=Drain(force=is_forced))
        )
        if one.metadata.name == site
        else one
        for one in inputs.sites
    ]
    fleet, now_moves, stuck = fleet_of(inputs), Rows(), Rows()
    there = [one for one in inputs.workloads if _replicas_at(one, site)]
    decided = [decide_one(inputs, fleet, one, now=now, evicted=[site]) for one in there]
    candidates = [(_candidate(one, site, is_forced=is_forced), one.workload) for one in decided]
    for candidate, workload in sorted(candidates, key=lambda pair: drain_order(pair[0])):
        title = workload.metadata.key
        reason = "" if candidate.may_stay else why_not_at_all(candidate)
        if candidate.may_stay or reason:
            if reason:
                stuck.append({"workload": title, "reason": reason})
            continue
        # Decided again: what was moved before it takes its room.
        found = decide_one(inputs, fleet, workload, now=now, evicted=[site])
        if not isinstance(found.demand, Demand) or found.decision is None:
            continue
        if found.decision.phase != "Placed":
            stuck.append({"workload": title, "reason": found.decision.line})
            continue
        before = found.demand.placed_replicas
        after = {one.site: one.replicas for one in found.decision.assignment}
        now_moves += moves_between(title, before, after, [site])
        follow(inputs, fleet, found)
    return now_moves, stuck


def _replicas_at(workload: Workload, site: str) -> int:
    if workload.status.phase == "Completed" or workload.metadata.deletion_timestamp:
        return 0
    share = shares_in(workload.status.placement.groups).get(site)
    return 0 if share is None else share.replicas


def _candidate(decided: OfflineDecision, site: str, *, is_forced: bool) -> DrainCandidate:
    workload, demand = decided.workload, decided.demand
    metadata, manifests = workload.metadata, workload.spec.manifests
    shares = shares_in(workload.status.placement.groups)
    total, created = sum(one.replicas for one in shares.values()), metadata.creation_timestamp
    is_demand = isinstance(demand, Demand)
    identity = demand.identity if isinstance(demand, Demand) else None
    return DrainCandidate(
        key=(metadata.namespace, metadata.name),
        site=site,
        cause="drain",
        replicas=shares[site].replicas,
        total=total,
        priority=workload.spec.priority,
        created_at_seconds=created.timestamp() if created else 0.0,
        is_forced=is_forced,
        needs_force=needs_force_because(manifests, identity),
        is_whole=identity in ("Whole", "Ranges"),
        is_everywhere=isinstance(demand, Demand) and demand.strategy == "Duplicated",
        budget=disruption_budget(manifests, total),
        not_accepted="" if is_demand else getattr(demand, "message", ""),
    )
