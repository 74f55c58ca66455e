"""Waiting: what the time until a later start costs, for work that can wait.

Work that names its deadline and its duration may start later, where and when that is cheaper
(`start_time.py`); each hour until then costs `waitingCnyPerHour`. Starting now costs nothing.
"""

import numpy as np

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.fields import Origin
from scheduler.model.units import SECONDS_PER_HOUR
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.site_vector import SiteVector, known_everywhere


def waiting_price(demand: Demand, context: DecisionContext) -> float:
    """CNY per hour of waiting and replica: the workload's own price, else that of the terms."""
    own = demand.prices.waiting_cny_per_hour
    return context.terms.waiting_cny_per_hour if own is None else own


class WaitingCost:
    """Hours until the start * the price of an hour, per hour of work."""

    term = "waiting"

    def units(self, demand: Demand, context: DecisionContext) -> float:
        """CNY per hour of waiting and hour of work; 0 for a start now."""
        if not context.starts_later or not demand.schedule.duration_seconds:
            return 0.0
        hours = demand.schedule.duration_seconds / SECONDS_PER_HOUR
        return waiting_price(demand, context) / hours

    def per_unit(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> SiteVector:
        """Hours until the start, the same at every site."""
        del demand
        hours = (context.run_start_seconds - context.now_seconds) / SECONDS_PER_HOUR
        return known_everywhere(np.full(fleet.slot_capacity, hours))

    def origin(
        self, facts: SiteFacts, demand: Demand, context: DecisionContext
    ) -> tuple[Origin, float | None]:
        """Always `assumed`: the workload states the price."""
        del facts, demand, context
        return "assumed", None


COST = WaitingCost()
