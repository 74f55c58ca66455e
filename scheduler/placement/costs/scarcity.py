"""Scarcity: what the resources of a replica are worth to the work that waits.

The prices are the dual prices of the last batch (`batch.py`), quantised and versioned; they are
part of the terms and recorded with every decision that they entered.
"""

import numpy as np

from scheduler.model.demand import Demand
from scheduler.model.facts import SiteFacts
from scheduler.model.fields import Origin
from scheduler.placement.fleet import Fleet
from scheduler.placement.moment import Moment
from scheduler.placement.price import Figures


class Scarcity:
    """Requests * the price of the last unit of each resource at each site."""

    term = "scarcity"

    def units(self, demand: Demand, moment: Moment) -> float:
        """One replica, while a batch has set prices."""
        del demand
        return 1.0 if moment.terms.scarcity else 0.0

    def per_unit(self, fleet: Fleet, demand: Demand, moment: Moment) -> Figures:
        """CNY per replica-hour; a site without a price is not scarce."""
        cny = np.zeros(fleet.capacity)
        requests = demand.requests
        for each in moment.terms.scarcity:
            slot = fleet.slot_of.get(each.site)
            if slot is not None:
                cny[slot] += requests.get(each.resource, 0) * each.cny_per_unit_hour
        return Figures(cny, None)

    def origin(
        self, facts: SiteFacts, demand: Demand, moment: Moment
    ) -> tuple[Origin, float | None]:
        """Computed."""
        del facts, demand, moment
        return "modelled", None


COST = Scarcity()
