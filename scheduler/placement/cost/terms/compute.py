"""What a site charges for its cores."""

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.fields import Origin
from scheduler.model.quantities import CPU, MILLI_PER_UNIT
from scheduler.placement.cost.energy import core_price
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.site_vector import SiteVector


class Compute:
    """Cores * the site's price of a core-hour."""

    term = "compute"

    def units(self, demand: Demand, context: DecisionContext) -> float:
        """Cores of one replica."""
        del context
        return demand.requests.get(CPU, 0) / MILLI_PER_UNIT

    def per_unit(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> SiteVector:
        """CNY per core-hour."""
        del demand
        return core_price(fleet, context)

    def origin(
        self, facts: SiteFacts, demand: Demand, context: DecisionContext
    ) -> tuple[Origin, float | None]:
        """`assumed`, as an operator wrote the price list; `unknown` without a price."""
        del demand, context
        return ("unknown" if facts.spec.prices.core_cny_per_hour is None else "assumed"), None


COST = Compute()
