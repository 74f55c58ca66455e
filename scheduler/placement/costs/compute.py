"""What a site charges for its cores."""

from scheduler.model.demand import Demand
from scheduler.model.facts import SiteFacts
from scheduler.model.fields import Origin
from scheduler.model.quantities import CPU, MILLI_PER_UNIT
from scheduler.placement.fleet import Fleet
from scheduler.placement.moment import Moment
from scheduler.placement.power_draw import core_price
from scheduler.placement.price import Figures


class Compute:
    """Cores * the site's price of a core-hour."""

    term = "compute"

    def applies(self, demand: Demand, moment: Moment) -> bool:
        """Whatever asks for cores pays."""
        del moment
        return demand.requests.get(CPU, 0) > 0

    def figures(self, fleet: Fleet, demand: Demand, moment: Moment) -> Figures:
        """CNY per replica-hour."""
        price = core_price(fleet, moment)
        return Figures(demand.requests[CPU] / MILLI_PER_UNIT * price.value, price.known)

    def origin(self, facts: SiteFacts, moment: Moment) -> tuple[Origin, float | None]:
        """A price list; operations wrote it down."""
        del moment
        return ("unknown" if facts.spec.prices.core_cny_per_hour is None else "assumed"), None


COST = Compute()
