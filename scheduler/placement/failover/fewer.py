"""What cannot leave all the sites that it is to leave leaves as many of them as it can. Pure.

A decision moves all that it is asked to move, or nothing. So the sites are tried one after the
other, in the order in which they are named, and each that can be left stays in the question.
"""

from collections.abc import Callable

from msgspec.structs import replace

from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand

_MAX_SITES_TRIED = 8
_NOTHING_FEWER_THAN = 2


def leave_as_many(
    demand: Demand, decision: Decision, choose: Callable[[Demand], Decision]
) -> tuple[Demand, Decision]:
    """The decision that leaves as many of the sites as can be left; the given one if none.

    Args:
        demand: with all sites that are to be left.
        decision: about it; it has not placed the workload.
        choose: decides a demand.

    Returns:
        The demand that was decided, and the decision.
    """
    sites = [site for site in demand.evicted if site in demand.placed_replicas]
    best, left = (demand, decision), tuple[str, ...]()
    if len(sites) < _NOTHING_FEWER_THAN:
        return best
    for site in sites[:_MAX_SITES_TRIED]:
        fewer = replace(demand, evicted=(*left, site))
        found = choose(fewer)
        if found.phase == "Placed":
            best, left = (fewer, found), (*left, site)
    return best
