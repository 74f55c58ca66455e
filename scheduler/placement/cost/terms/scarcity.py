"""Scarcity: what the resources of a replica are worth to the workloads that wait.

The prices are the dual prices of the last batch (`batch.py`), quantised and versioned; they are
part of the terms and recorded with every decision that they were used in.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import Terms
from scheduler.model.kinds.fields import Origin
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.site_vector import SiteVector, known_everywhere


class Scarcity:
    """Requests * the price of the last unit of each resource at each site."""

    term = "scarcity"

    def units(self, demand: Demand, context: DecisionContext) -> float:
        """1 while the prices of a batch count, else 0."""
        del demand
        return 1.0 if context.terms.scarcity else 0.0

    def per_unit(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> SiteVector:
        """CNY per replica-hour; a site without a price is not scarce."""
        cny = np.zeros(fleet.slot_capacity)
        for resource, asked in demand.requests.items():
            if asked:
                cny += asked * _prices_by_slot(fleet, context.terms, resource)
        return known_everywhere(cny)

    def origin(
        self, facts: SiteFacts, demand: Demand, context: DecisionContext
    ) -> tuple[Origin, float | None]:
        """Always `modelled`: prices come from the last batch."""
        del facts, demand, context
        return "modelled", None


def _prices_by_slot(fleet: Fleet, terms: Terms, resource: str) -> NDArray[np.float64]:
    """The price of a resource at every site; cached as long as the prices count."""
    version = terms.scarcity_version or terms.scarcity
    return fleet.description_column(
        ("scarcity", version, resource), _price_lookup(terms, resource), np.float64
    )


def _price_lookup(terms: Terms, resource: str) -> Callable[[SiteFacts], float]:
    """The price of a resource at a site, from a table that is built at the first call."""
    price_by_site: dict[str, float] = {}

    def price(facts: SiteFacts) -> float:
        if not price_by_site:
            price_by_site[""] = 0.0
            for each in terms.scarcity:
                if each.resource == resource:
                    price_by_site[each.site] = (
                        price_by_site.get(each.site, 0.0) + each.cny_per_unit_hour
                    )
        return price_by_site.get(facts.name, 0.0)

    return price


COST = Scarcity()
