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

    def applies(self, demand: Demand, moment: Moment) -> bool:
        """Where a millisecond has a price, and somewhere to measure from."""
        return bool(demand.latency) and latency_price(demand, moment) > 0

    def figures(self, fleet: Fleet, demand: Demand, moment: Moment) -> Figures:
        """CNY per replica-hour."""
        known = np.ones(fleet.capacity, np.bool_)
        longest = np.zeros(fleet.capacity)
        for bound in demand.latency:
            trip = milliseconds(fleet, bound.from_)
            known &= ~np.isnan(trip)
            longest = np.maximum(longest, trip)
        price = latency_price(demand, moment)
        worst = moment.terms.fallback_milliseconds
        return Figures(np.where(known, longest, worst) * price, known)

    def origin(self, facts: SiteFacts, moment: Moment) -> tuple[Origin, float | None]:
        """As good as the worst of the site's round trips, as old as its report."""
        origins = [each.origin for each in facts.status.rtt]
        seen = facts.observed_at
        age = None if seen is None else moment.now_seconds - seen.timestamp()
        return worst_origin(*origins) if origins else "unknown", age


COST = Latency()
