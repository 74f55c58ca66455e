"""Own solar power: free while there is more of it than the site draws, and given away once.

The surplus is what the roof makes less what the building draws, both measured in one report, less
what is on its way there and draws nothing yet. It is a figure of this moment: only runs of at most
an hour that start now are reckoned with it. Without any of these figures there is no surplus, and
the grid's price and intensity count in full.
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
    """Which part of its power the whole demand would have for nothing at each site; [capacity].

    Args:
        fleet: the fleet.
        demand: what runs, all of its replicas in one place.
        context: the time and terms.
        replica_watts: of one replica, before PUE.

    Returns:
        0 to 1; None when no site has anything to give, or the run is too long.
    """
    seconds = demand.schedule.duration_seconds or 0
    is_short = 0 < seconds <= context.terms.pv_longest_run_seconds
    if not is_short or context.start_seconds is not None or replica_watts * demand.replicas <= 0:
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
    """What is on its way to a site will draw, with its building."""
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
