"""Carbon: marginal watts * PUE * average location-based intensity * the price of a kilogram."""

from msgspec.structs import replace

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.kept_forecast import is_hourly
from scheduler.model.kinds.fields import Origin
from scheduler.model.kinds.site import Intensity
from scheduler.model.units import GRAMS_PER_KILOGRAM
from scheduler.placement.cost.energy import (
    carbon_intensity_of_run,
    pue_origin_of,
    replica_kwh_per_hour,
    worst_origin,
)
from scheduler.placement.fleet.context import MAX_CLOCK_SKEW_SECONDS, DecisionContext
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
        forecast = facts.forecast
        if (
            context.start_seconds is not None
            and forecast is not None
            and facts.has_hourly_intensity
        ):
            age = context.age_seconds(forecast.observed_at)
            return worst_origin(forecast.origin, pue_origin_of(facts)), age
        del demand
        intensity = counted_intensity(facts, context)
        if intensity is None or intensity.gco2_per_kwh is None:
            return "unknown", None
        age = context.age_seconds(intensity.observed_at)
        kept = facts.kept_forecast and facts.kept_forecast.forecast
        if context.start_seconds is not None and kept and intensity.origin != "yearly":
            kept_age = context.age_seconds(kept.observed_at)
            return worst_origin(intensity.origin, kept.origin, pue_origin_of(facts)), kept_age
        return worst_origin(intensity.origin, pue_origin_of(facts)), age


def counted_intensity(facts: SiteFacts, context: DecisionContext) -> Intensity | None:
    """The intensity that counts for a site now, with its date; None: none is known.

    As `carbon_intensity` chooses for all sites; of one that stands in for another the value may be
    that of the other.
    """
    own, zone = facts.status.intensity, facts.zone_intensity
    if own is not None:
        own = replace(own, observed_at=own.observed_at or facts.observed_at)
    if zone is None or (is_hourly(own) and _is_fresh(own, context)):
        return own
    if zone.hourly is not None and _is_fresh(zone.hourly, context):
        return zone.hourly
    if facts.has_yearly_intensity and own is not None and own.gco2_per_kwh is not None:
        return own
    if zone.yearly_gco2_per_kwh is not None:
        return Intensity(gco2_per_kwh=zone.yearly_gco2_per_kwh, origin="yearly")
    return zone.hourly if own is None or own.gco2_per_kwh is None else own


def _is_fresh(intensity: Intensity | None, context: DecisionContext) -> bool:
    age = context.age_seconds(intensity.observed_at) if intensity else None
    old = context.terms.figure_old_seconds
    return age is not None and -MAX_CLOCK_SKEW_SECONDS <= age <= old


COST = Carbon()
