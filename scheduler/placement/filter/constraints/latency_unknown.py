"""A round trip that nobody measured is not assumed to be short."""

import numpy as np

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.placement.filter.rules import BoolPerSite, Event, Fields
from scheduler.placement.fleet.context import Moment
from scheduler.placement.fleet.distance import milliseconds
from scheduler.placement.fleet.fleet import Fleet


class LatencyUnknown:
    """Every bound needs a figure."""

    reason: Reason = "latency-unknown"
    wakes: frozenset[Event] = frozenset({"latency", "workload"})

    question = Fields("latency")

    def admits(self, fleet: Fleet, demand: Demand, moment: Moment) -> BoolPerSite:
        """Which sites know the round trip to every place that is asked for."""
        del moment
        known = fleet.is_there
        for bound in demand.latency:
            known = known & ~np.isnan(milliseconds(fleet, bound.from_))
        return known

    def because(self, facts: SiteFacts, demand: Demand, moment: Moment) -> str:
        """Names the places."""
        del moment
        if not demand.latency:
            return "the workload bounds no latency"
        places = ", ".join(bound.from_ for bound in demand.latency)
        return (
            f"{facts.name} knows its round trip to {len(facts.status.rtt)} peers; asked is {places}"
        )


RULE = LatencyUnknown()
