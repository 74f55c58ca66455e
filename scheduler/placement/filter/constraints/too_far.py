"""A round trip must be as short as the workload needs."""

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.placement.filter.rules import BoolPerSite, Event, Fields
from scheduler.placement.fleet.context import Moment
from scheduler.placement.fleet.distance import METRO, milliseconds
from scheduler.placement.fleet.fleet import Fleet


class TooFar:
    """Known round trips must be within every bound; unknown ones are another rule's."""

    reason: Reason = "too-far"
    wakes: frozenset[Event] = frozenset({"latency", "workload"})

    question = Fields("latency")

    def admits(self, fleet: Fleet, demand: Demand, moment: Moment) -> BoolPerSite:
        """Compares with every bound."""
        del moment
        near = fleet.is_there
        for bound in demand.latency:
            near = near & ~(milliseconds(fleet, bound.from_) > bound.within_milliseconds)
        return near

    def because(self, facts: SiteFacts, demand: Demand, moment: Moment) -> str:
        """Names the round trips that were reported."""
        del moment
        if not demand.latency:
            return "the workload bounds no latency"
        known = {each.to: each.milliseconds for each in facts.status.rtt}
        told = [
            f"{bound.from_} within {bound.within_milliseconds:g} ms"
            + (
                f" (here {known[bound.from_]:g} ms)"
                if bound.from_ in known
                else _of_metro(bound.from_, known)
            )
            for bound in demand.latency
        ]
        return f"asked of {facts.name}: {', '.join(told)}"


def _of_metro(place: str, known: dict[str, float]) -> str:
    if place.startswith(METRO) and known:
        return f" (here up to {max(known.values()):g} ms to the peers it measures)"
    return ""


RULE = TooFar()
