"""Electricity: marginal watts * PUE * the site's price."""

from scheduler.model.demand import Demand
from scheduler.model.facts import SiteFacts
from scheduler.model.fields import Origin
from scheduler.placement.fleet import Fleet
from scheduler.placement.moment import Moment
from scheduler.placement.power_draw import (
    energy_price,
    pue,
    pue_origin,
    replica_kwh_per_hour,
    worst_origin,
)
from scheduler.placement.price import Figures


class Energy:
    """What the electricity of one replica costs."""

    term = "energy"

    def applies(self, demand: Demand, moment: Moment) -> bool:
        """Whatever draws power pays."""
        return replica_kwh_per_hour(demand, moment) > 0

    def figures(self, fleet: Fleet, demand: Demand, moment: Moment) -> Figures:
        """CNY per replica-hour."""
        price, building = energy_price(fleet, moment), pue(fleet, moment)
        kwh = replica_kwh_per_hour(demand, moment)
        return Figures(kwh * building.value * price.value, price.known & building.known)

    def origin(self, facts: SiteFacts, moment: Moment) -> tuple[Origin, float | None]:
        """The price is a contract; the watts are assumed, so the product is at best that."""
        del moment
        if facts.spec.prices.energy_cny_per_kwh is None:
            return "unknown", None
        return worst_origin("assumed", pue_origin(facts)), None


COST = Energy()
