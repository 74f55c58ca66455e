"""A site's own solar power: free as far as it exceeds what the site draws, and promised only once.

The surplus is what the roof makes less what the building draws, both measured in one report, less
what replicas in flight will draw there. It is a figure of this moment, so it counts only for runs
of at most `pv_longest_run_seconds` that start now. If any of these figures is missing there is no
surplus, and the grid's price and intensity count in full.
"""

import numpy as np
from numpy.typing import NDArray

from scheduler.energy.power import marginal_watts
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.quantities import MILLI_PER_UNIT
from scheduler.placement.fleet.context import MAX_CLOCK_SKEW_SECONDS, DecisionContext
from scheduler.placement.fleet.fleet import Fleet

Floats = NDArray[np.float64]


def free_solar_ratio(
    fleet: Fleet, demand: Demand, context: DecisionContext, replica_watts: float
) -> Floats | None:
    """The share of its power that the whole demand would get from solar surplus; [slot_capacity].

    Args:
        fleet: the fleet.
        demand: the demand; all of its replicas are counted at one site.
        context: the time and terms.
        replica_watts: the power of one replica, before PUE.

    Returns:
        0 to 1 for each site; None if no site has a surplus, or the run is too long or starts later.
    """
    seconds = demand.schedule.duration_seconds or 0
    is_short = 0 < seconds <= context.terms.pv_longest_run_seconds
    if not is_short or context.starts_later or replica_watts * demand.replicas <= 0:
        return None
    oldest = context.now_seconds - context.terms.report_stale_seconds
    surplus_watts, seen = fleet.figure("pv_surplus_watts"), fleet.figure("power_observed_at")
    fresh = (seen >= oldest) & (seen <= context.now_seconds + MAX_CLOCK_SKEW_SECONDS)
    slots = np.flatnonzero((surplus_watts > 0) & fresh)
    if not len(slots):
        return None
    ratio = np.zeros(fleet.slot_capacity)
    asked_watts = replica_watts * demand.replicas * fleet.figure("pue")[slots]
    in_flight_watts = np.array(
        [_in_flight_watts(fleet.facts[slot], context) for slot in slots.tolist()]
    )
    ratio[slots] = np.clip((surplus_watts[slots] - in_flight_watts) / asked_watts, 0.0, 1.0)
    return ratio


def _in_flight_watts(facts: SiteFacts | None, context: DecisionContext) -> float:
    """What the replicas in flight to a site will draw, PUE included."""
    if facts is None:
        return 0.0
    watts = sum(
        each.replicas
        * marginal_watts(
            each.requests, each.gpu_cards * each.gpu_milli / MILLI_PER_UNIT, context.terms
        )
        for each in facts.in_flight
    )
    return watts * (facts.spec.energy.pue or 1.0)
