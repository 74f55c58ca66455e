"""Electricity: marginal watts * PUE * the site's price."""

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.fields import Origin
from scheduler.placement.cost.energy import (
    energy_price_of_run,
    pue_origin_of,
    replica_kwh_per_hour,
    worst_origin,
)
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.site_vector import SiteVector


class EnergyCost:
    """What the electricity of one replica costs."""

    term = "energy"

    def units(self, demand: Demand, context: DecisionContext) -> float:
        """Kilowatt-hours per replica-hour, before PUE."""
        return replica_kwh_per_hour(demand, context)

    def per_unit(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> SiteVector:
        """CNY per kWh at the machine: the site's price while the work runs, times its PUE."""
        return energy_price_of_run(fleet, demand, context)

    def origin(
        self, facts: SiteFacts, demand: Demand, context: DecisionContext
    ) -> tuple[Origin, float | None]:
        """At best `assumed`: the price is a contract, but the watts are assumed."""
        del demand, context
        if facts.spec.prices.energy_cny_per_kwh is None:
            return "unknown", None
        return worst_origin("assumed", pue_origin_of(facts)), None


COST = EnergyCost()
