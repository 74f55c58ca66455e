"""Distance: the round trip to the places that a workload bounds, at its price of a millisecond."""

import numpy as np

from scheduler.model.demand import Demand
from scheduler.model.facts import SiteFacts
from scheduler.model.fields import Origin
from scheduler.placement.distance import milliseconds
from scheduler.placement.fleet import Fleet
from scheduler.placement.moment import Moment
from scheduler.placement.power_draw import worst_origin
from scheduler.placement.price import Figures


def latency_price(demand: Demand, moment: Moment) -> float:
    """CNY per millisecond and hour: the workload's own price, else that of the terms."""
    own = demand.prices.latency_cny_per_millisecond_hour
    return moment.terms.latency_cny_per_millisecond_hour if own is None else own


class Latency:
    """The longest of the round trips that the workload bounds."""

    term = "latency"

    def units(self, demand: Demand, moment: Moment) -> float:
        """CNY per millisecond and hour, if there is somewhere to measure from."""
        return latency_price(demand, moment) if demand.latency else 0.0

    def per_unit(self, fleet: Fleet, demand: Demand, moment: Moment) -> Figures:
        """Milliseconds: the longest round trip of the bounds."""
        places = tuple(bound.from_ for bound in demand.latency)
        worst = moment.terms.fallback_milliseconds

        def compute() -> tuple[Figures, float]:
            longest = np.zeros(fleet.capacity)
            for place in places:
                longest = np.maximum(longest, milliseconds(fleet, place))
            known = ~np.isnan(longest)
            return Figures(np.where(known, longest, worst), known), np.inf

        question = ("latency", places, worst)
        found: Figures = fleet.remember(question, moment.now_seconds, compute)
        return found

    def origin(self, facts: SiteFacts, moment: Moment) -> tuple[Origin, float | None]:
        """As good as the worst of the site's round trips, as old as its report."""
        origins = [each.origin for each in facts.status.rtt]
        seen = facts.observed_at
        age = None if seen is None else moment.now_seconds - seen.timestamp()
        return worst_origin(*origins) if origins else "unknown", age


COST = Latency()
