"""Whose replicas may end for a workload: those of lower priority, and borrowers of its quota.

A priority alone ends only what is lower, never what is equal. Borrowed quota is taken back whatever
the priority, and never more of it than its tenant has borrowed.
"""

from collections.abc import Mapping, Sequence

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.preemption import (
    PossibleVictim,
    usage_of_replica,
    without_shares_at,
)
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.preemption.harm import Ended


def eligible_victims(demand: Demand, fleet: Fleet) -> list[PossibleVictim]:
    """The victims whose replicas may end, without those at sites that do not report.

    Args:
        demand: the workload that finds no room.
        fleet: the sites.
    """
    found = []
    for each in demand.victims:
        if each.workload == demand.key or not (is_lower(demand, each) or may_reclaim(demand, each)):
            continue
        unheard = frozenset(share.site for share in each.shares if not _reports(fleet, share.site))
        left = without_shares_at(each, unheard)
        if left is not None:
            found.append(left)
    return found


def _reports(fleet: Fleet, site: str) -> bool:
    slot = fleet.slot_of.get(site)
    facts = None if slot is None else fleet.facts[slot]
    return facts is not None and not facts.is_silent


def is_lower(demand: Demand, victim: PossibleVictim) -> bool:
    """Whether a victim may end by its priority alone."""
    return demand.preemption == "LowerPriority" and victim.priority < demand.priority


def may_reclaim(demand: Demand, victim: PossibleVictim) -> bool:
    """Whether a victim uses quota that the demand's tenant is guaranteed."""
    return victim.tenant != demand.tenant and bool(demand.reclaim.get(victim.tenant))


def takes_back_no_more(demand: Demand, victims: Sequence[PossibleVictim], ended: Ended) -> bool:
    """Whether every tenant from which is taken back still borrows before its last victim ends.

    Args:
        demand: the workload that is to fit.
        victims: all victims.
        ended: those that end.
    """
    taken: dict[str, dict[str, int]] = {}
    last: dict[str, dict[str, int]] = {}
    whole: dict[int, int] = {}
    for (number, _), count in ended.items():
        whole[number] = whole.get(number, 0) + count
    for number, count in whole.items():
        victim = victims[number]
        if is_lower(demand, victim):
            continue
        usage = usage_of_replica(victim)
        step = count if victim.gang or victim.whole else 1
        _add(taken.setdefault(victim.tenant, {}), usage, count)
        known, one = last.get(victim.tenant), {name: used * step for name, used in usage.items()}
        if known is None or sum(one.values()) < sum(known.values()):
            last[victim.tenant] = one
    return all(
        _still_borrows(demand.reclaim.get(tenant, {}), total, last[tenant])
        for tenant, total in taken.items()
    )


def _still_borrows(
    borrowed: Mapping[str, int], total: Mapping[str, int], last: Mapping[str, int]
) -> bool:
    """Whether some of a resource is still borrowed when all but the last victim have ended."""
    return any(amount > total.get(name, 0) - last.get(name, 0) for name, amount in borrowed.items())


def _add(total: dict[str, int], usage: Mapping[str, int], times: int) -> None:
    for name, used in usage.items():
        total[name] = total.get(name, 0) + used * times
