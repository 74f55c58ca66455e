"""Distance: the round trip to the places that a workload bounds, at its price of a millisecond."""

from functools import partial

import numpy as np

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.fields import Origin
from scheduler.placement.cost.energy import worst_origin
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.distance import METRO_PREFIX, rtt_milliseconds
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.site_vector import SiteVector


def latency_price(demand: Demand, context: DecisionContext) -> float:
    """CNY per millisecond and hour: the workload's own price, else that of the terms."""
    own = demand.prices.latency_cny_per_millisecond_hour
    return context.terms.latency_cny_per_millisecond_hour if own is None else own


class Latency:
    """The longest of the round trips that the workload bounds."""

    term = "latency"

    def units(self, demand: Demand, context: DecisionContext) -> float:
        """CNY per millisecond and hour; 0 if the workload bounds no round trip."""
        return latency_price(demand, context) if demand.latency else 0.0

    def per_unit(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> SiteVector:
        """Milliseconds: the longest round trip of the bounds.

        A missing round trip counts as the fall-back. Round trips are as old as the report that has
        them, and the rule `stale` refuses sites with old reports.
        """
        places = tuple([bound.from_ for bound in demand.latency])
        cache_key = ("latency", *places)
        found: SiteVector = fleet.cached_figure(
            cache_key, context, partial(_longest_round_trips, places)
        )
        return found

    def origin(
        self, facts: SiteFacts, demand: Demand, context: DecisionContext
    ) -> tuple[Origin, float | None]:
        """The worst origin of the round trips that count; the age of the report."""
        places = {bound.from_ for bound in demand.latency}
        measures_metro = any(place.startswith(METRO_PREFIX) for place in places)
        origins = [e.origin for e in facts.status.rtt if measures_metro or e.to in places]
        age = context.age_seconds(facts.observed_at)
        return worst_origin(*origins) if origins else "unknown", age


def _longest_round_trips(
    places: tuple[str, ...], fleet: Fleet, context: DecisionContext
) -> tuple[SiteVector, float]:
    worst = context.terms.fallback_milliseconds
    longest = np.zeros(fleet.slot_capacity)
    missing = np.zeros(fleet.slot_capacity, np.int64)
    for place in places:
        found = rtt_milliseconds(fleet, place)
        is_missing = np.isnan(found)
        missing += is_missing
        longest = np.maximum(longest, np.where(is_missing, worst, found))
    return SiteVector(longest, missing == 0, missing), np.inf


COST = Latency()
