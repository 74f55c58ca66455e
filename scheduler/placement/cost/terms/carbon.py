"""Carbon: marginal watts * PUE * average location-based intensity * the price of a kilogram."""

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.fields import Origin
from scheduler.model.units import GRAMS_PER_KILOGRAM
from scheduler.placement.cost.energy import (
    carbon_intensity_of_run,
    pue_origin_of,
    replica_kwh_per_hour,
    worst_origin,
)
from scheduler.placement.cost.forecasts import has_hourly_intensity
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.site_vector import SiteVector


def carbon_price(demand: Demand, context: DecisionContext) -> float:
    """CNY per kgCO2: the workload's own price, else that of the terms."""
    own = demand.prices.carbon_cny_per_kg
    return context.terms.carbon_cny_per_kg if own is None else own


class Carbon:
    """The emissions of one replica, priced."""

    term = "carbon"

    def units(self, demand: Demand, context: DecisionContext) -> float:
        """CNY per gCO2/kWh: kWh per replica-hour times the price of a gram."""
        price = carbon_price(demand, context) / GRAMS_PER_KILOGRAM
        return price and replica_kwh_per_hour(demand, context) * price

    def per_unit(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> SiteVector:
        """Grams of CO2 per kWh at the machine: the grid's intensity times the PUE."""
        return carbon_intensity_of_run(fleet, demand, context)

    def origin(
        self, facts: SiteFacts, demand: Demand, context: DecisionContext
    ) -> tuple[Origin, float | None]:
        """The intensity's origin and age, or the PUE's origin if that is worse.

        Where a forecast is lost, the origin is the worse of both figures, with the age of the
        forecast: see `intensity_of_run`.
        """
        forecast = facts.spec.energy.forecast
        if (
            context.start_seconds is not None
            and forecast is not None
            and has_hourly_intensity(facts)
        ):
            age = context.age_seconds(forecast.observed_at)
            return worst_origin(forecast.origin, pue_origin_of(facts)), age
        del demand
        intensity = facts.status.intensity
        if intensity is None or intensity.gco2_per_kwh is None:
            return "unknown", None
        age = context.age_seconds(intensity.observed_at or facts.observed_at)
        kept = facts.kept_forecast and facts.kept_forecast.forecast
        if context.start_seconds is not None and kept and intensity.origin != "yearly":
            kept_age = context.age_seconds(kept.observed_at)
            return worst_origin(intensity.origin, kept.origin, pue_origin_of(facts)), kept_age
        return worst_origin(intensity.origin, pue_origin_of(facts)), age


COST = Carbon()
