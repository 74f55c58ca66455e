"""Energy figures for the cost terms; a missing figure counts as the worst that is known of it."""

import numpy as np
from numpy.typing import NDArray

from scheduler.energy.power import kilowatt_hours_per_hour, marginal_watts
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import Terms
from scheduler.model.kinds.fields import Origin
from scheduler.model.units import WATTS_PER_KILOWATT
from scheduler.placement.cost.forecasts import (
    has_tariffs,
    intensity_of_run,
    tariff_price_of_run,
)
from scheduler.placement.cost.solar import free_solar_ratio
from scheduler.placement.fleet.context import MAX_CLOCK_SKEW_SECONDS, DecisionContext
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.site_vector import SiteVector

Floats = NDArray[np.float64]

_OTHERWISE = "zone_otherwise_gco2_per_kwh"


def replica_kwh_per_hour(demand: Demand, context: DecisionContext) -> float:
    """What one replica draws, before PUE; kWh per hour.

    Three costs of a decision read it: it is kept with the demand, which never changes, for the
    terms that it was computed from.
    """
    terms = context.terms
    kept: tuple[Terms, float] | None = demand.__dict__.get("_kwh_per_hour")
    if kept is None or kept[0] is not terms:
        watts = marginal_watts(demand.requests, demand.gpu_share_cards, terms)
        kept = demand.__dict__["_kwh_per_hour"] = (terms, kilowatt_hours_per_hour(watts))
    return kept[1]


def pue(fleet: Fleet, context: DecisionContext) -> SiteVector:
    """Power usage effectiveness, a ratio; the fall-back where it is missing; [slot_capacity]."""
    return _fill_missing(fleet.figure("pue"), context.terms.fallback_pue)


def energy_price(fleet: Fleet, context: DecisionContext) -> SiteVector:
    """CNY per kWh; [slot_capacity].

    A missing price counts as the worse of the fall-back and the site's own 90th percentile.
    """
    worst = np.fmax(fleet.figure("energy_p90"), context.terms.fallback_energy_cny_per_kwh)
    return _fill_missing(fleet.figure("energy_cny_per_kwh"), worst)


def core_price(fleet: Fleet, context: DecisionContext) -> SiteVector:
    """CNY per core-hour; the fall-back where it is missing; [slot_capacity]."""
    found: SiteVector = fleet.cached_figure("core price", context, _compute_core_price)
    return found


def _compute_core_price(fleet: Fleet, context: DecisionContext) -> tuple[SiteVector, float]:
    worst = context.terms.fallback_core_cny_per_hour
    return _fill_missing(fleet.figure("core_cny_per_hour"), worst), np.inf


def carbon_intensity(fleet: Fleet, context: DecisionContext) -> SiteVector:
    """Grams of CO2 per kWh; [slot_capacity].

    A missing or old figure counts as the worst of the fall-back, the last known figure and the
    site's 90th percentile. A yearly factor does not age within its year. A figure without a date of
    its own is as old as the report. The age of a figure from the future is unknown, so it counts as
    old.

    Where a site reports no figure of the hour that is fresh, that of its grid zone counts, else
    the official factor; none of them less than what it stands in for (`kept_forecast.py`).
    """
    last = fleet.figure("gco2_per_kwh")
    worst = np.fmax(fleet.figure("gco2_p90"), context.terms.fallback_gco2_per_kwh)
    oldest = context.now_seconds - context.terms.figure_old_seconds
    newest = context.now_seconds + MAX_CLOCK_SKEW_SECONDS
    seen = fleet.figure("gco2_observed_at")
    fresh = ((seen >= oldest) & (seen <= newest)) | fleet.has_yearly_intensity
    known = ~np.isnan(last)
    value = np.where(known & fresh, last, np.fmax(last, worst))
    zone_seen, otherwise = fleet.figure("zone_observed_at"), fleet.figure(_OTHERWISE)
    if not (np.isnan(zone_seen).all() and np.isnan(otherwise).all()):
        zone = fleet.figure("zone_gco2_per_kwh")
        zone_fresh = (zone_seen >= oldest) & (zone_seen <= newest)
        stands_in = np.where(
            zone_fresh, zone, np.where(np.isnan(otherwise), np.fmax(value, zone), otherwise)
        )
        value = np.where(known & fresh, last, stands_in)
        known = known | ~np.isnan(zone) | ~np.isnan(otherwise)
    return SiteVector(value, known, (~known).astype(np.int64))


def energy_price_with_pue(fleet: Fleet, context: DecisionContext) -> SiteVector:
    """CNY per kWh at the machine: price times PUE; [slot_capacity]."""
    found: SiteVector = fleet.cached_figure("electricity", context, _compute_energy_price_with_pue)
    return found


def _compute_energy_price_with_pue(
    fleet: Fleet, context: DecisionContext
) -> tuple[SiteVector, float]:
    return _multiply(energy_price(fleet, context), pue(fleet, context)), np.inf


def energy_price_of_run(fleet: Fleet, demand: Demand, context: DecisionContext) -> SiteVector:
    """CNY per kWh at the machine while the work runs; [slot_capacity].

    By the hours of the run where the site has a tariff; work of unknown duration pays the mean of
    the day. What the site's own solar power serves of a short run is free.
    """
    found, seconds = energy_price_with_pue(fleet, context), demand.schedule.duration_seconds
    if not seconds:
        return found
    value = found.value
    if has_tariffs(fleet):
        price = tariff_price_of_run(fleet, context.run_start_seconds, float(seconds))
        value = np.where(np.isnan(price), value, price * pue(fleet, context).value)
    return SiteVector(_subtract_solar(value, fleet, demand, context), found.known, found.missing)


def carbon_intensity_of_run(fleet: Fleet, demand: Demand, context: DecisionContext) -> SiteVector:
    """Grams of CO2 per kWh at the machine while the work runs; [slot_capacity].

    `carbon_intensity_with_pue`, less what the site's own solar power serves of a short run; for
    work that can wait, `carbon_intensity_at_start`.
    """
    if context.start_seconds is not None:
        return carbon_intensity_at_start(fleet, demand, context)
    found = carbon_intensity_with_pue(fleet, context)
    if not demand.schedule.duration_seconds:
        return found
    return SiteVector(
        _subtract_solar(found.value, fleet, demand, context), found.known, found.missing
    )


def _subtract_solar(
    value: Floats, fleet: Fleet, demand: Demand, context: DecisionContext
) -> Floats:
    """The share of a figure that is left to the grid; a figure below zero stays as it is."""
    watts = replica_kwh_per_hour(demand, context) * WATTS_PER_KILOWATT
    solar_ratio = free_solar_ratio(fleet, demand, context, watts)
    return value if solar_ratio is None else value - np.maximum(value, 0.0) * solar_ratio


def carbon_intensity_with_pue(fleet: Fleet, context: DecisionContext) -> SiteVector:
    """Grams of CO2 per kWh at the machine: intensity times PUE; [slot_capacity]."""
    found: SiteVector = fleet.cached_figure(
        "emissions", context, _compute_carbon_intensity_with_pue
    )
    return found


def _compute_carbon_intensity_with_pue(
    fleet: Fleet, context: DecisionContext
) -> tuple[SiteVector, float]:
    found = _multiply(carbon_intensity(fleet, context), pue(fleet, context))
    return found, _valid_until_seconds(fleet, context)


def carbon_intensity_at_start(fleet: Fleet, demand: Demand, context: DecisionContext) -> SiteVector:
    """Grams of CO2 per kWh at the machine of work that can wait; [slot_capacity].

    A start now and every later one are priced by one series of each site: its forecast, else its
    present figure at every hour. Own solar power counts for a start now only.
    """
    seconds = float(demand.schedule.duration_seconds or 0)
    present = carbon_intensity(fleet, context)
    found = intensity_of_run(fleet, present.value, seconds, context)
    value = np.where(np.isnan(found), context.terms.fallback_gco2_per_kwh, found)
    known = present.known & ~np.isnan(found)
    series = SiteVector(value, known, (~known).astype(np.int64))
    priced = _multiply(series, pue(fleet, context))
    return SiteVector(
        _subtract_solar(priced.value, fleet, demand, context), priced.known, priced.missing
    )


def _valid_until_seconds(fleet: Fleet, context: DecisionContext) -> float:
    """Until when `carbon_intensity` stays as it is: a figure grows old, or is no longer ahead."""
    own, zone = fleet.figure("gco2_observed_at"), fleet.figure("zone_observed_at")
    seen, now = np.concatenate([own, zone]), context.now_seconds
    ends, begins = seen + context.terms.figure_old_seconds, seen - MAX_CLOCK_SKEW_SECONDS
    # A figure is still fresh at the very end; the instant after it is not.
    old = np.nextafter(np.min(ends[ends >= now], initial=np.inf), np.inf)
    return float(min(old, np.min(begins[begins > now], initial=np.inf)))


def _fill_missing(figure: Floats, worst: Floats | float) -> SiteVector:
    known = ~np.isnan(figure)
    return SiteVector(np.where(known, figure, worst), known, (~known).astype(np.int64))


def _multiply(one: SiteVector, other: SiteVector) -> SiteVector:
    return SiteVector(one.value * other.value, one.known & other.known, one.missing + other.missing)


_ORIGINS_BEST_FIRST: tuple[Origin, ...] = (
    "measured",
    "estimated",
    "modelled",
    "yearly",
    "assumed",
    "unknown",
)


def worst_origin(*origins: Origin) -> Origin:
    """The origin of a product: that of the least credible of its factors."""
    return max(origins, key=_ORIGINS_BEST_FIRST.index)


def pue_origin_of(facts: SiteFacts) -> Origin:
    """The origin of a site's PUE."""
    return facts.spec.energy.pue_origin if facts.spec.energy.pue is not None else "unknown"
