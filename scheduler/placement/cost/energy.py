"""Energy figures as the costs see them: the worst of what is known where one is missing."""

import numpy as np
from numpy.typing import NDArray

from scheduler.energy.power import kilowatt_hours_per_hour, marginal_watts
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import Terms
from scheduler.model.kinds.fields import Origin
from scheduler.model.quantities import MILLI_PER_UNIT
from scheduler.model.units import WATTS_PER_KILOWATT
from scheduler.placement.cost.forecasts import has_tariffs, intensity_at, price_at
from scheduler.placement.cost.solar import free_share
from scheduler.placement.fleet.context import AHEAD_SECONDS, Moment
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.site_vector import Figures

Floats = NDArray[np.float64]


def replica_kwh_per_hour(demand: Demand, moment: Moment) -> float:
    """What one replica draws, before PUE; kWh per hour."""
    kept: tuple[Terms, float] | None = demand.__dict__.get("replica_kwh_per_hour")
    if kept is None or kept[0] is not moment.terms:
        shares = sum(
            [
                each.count * each.shape.gpu_cards * each.shape.gpu_milli / MILLI_PER_UNIT
                for each in demand.unit
            ]
        )
        watts = marginal_watts(demand.requests, shares, moment.terms)
        kept = (moment.terms, kilowatt_hours_per_hour(watts))
        demand.__dict__["replica_kwh_per_hour"] = kept  # as functools.cached_property does
    return kept[1]


def pue(fleet: Fleet, moment: Moment) -> Figures:
    """Power usage effectiveness, a ratio; missing counts as the fall-back; [capacity]."""
    return _filled(fleet.figure("pue"), moment.terms.fallback_pue)


def energy_price(fleet: Fleet, moment: Moment) -> Figures:
    """CNY per kWh; [capacity].

    Missing counts as the worst of fall-back and the site's own 90th percentile.
    """
    worst = np.fmax(fleet.figure("energy_p90"), moment.terms.fallback_energy_cny_per_kwh)
    return _filled(fleet.figure("energy_cny_per_kwh"), worst)


def core_price(fleet: Fleet, moment: Moment) -> Figures:
    """CNY per core-hour; missing counts as the fall-back; [capacity]."""
    found: Figures = fleet.remember("core price", moment, _core_price)
    return found


def _core_price(fleet: Fleet, moment: Moment) -> tuple[Figures, float]:
    worst = moment.terms.fallback_core_cny_per_hour
    return _filled(fleet.figure("core_cny_per_hour"), worst), np.inf


def carbon_intensity(fleet: Fleet, moment: Moment) -> Figures:
    """Grams of CO2 per kWh; [capacity].

    Missing or old counts as the worst of fall-back, last known and 90th percentile.
    A yearly factor does not age within its year. A figure without a date of its own is as old as
    the report. Nobody knows how old a figure from the future is: it counts as old.
    """
    last = fleet.figure("gco2_per_kwh")
    worst = np.fmax(fleet.figure("gco2_p90"), moment.terms.fallback_gco2_per_kwh)
    oldest = moment.now_seconds - moment.terms.figure_old_seconds
    newest = moment.now_seconds + AHEAD_SECONDS
    seen = fleet.figure("gco2_observed_at")
    fresh = ((seen >= oldest) & (seen <= newest)) | fleet.yearly
    known = ~np.isnan(last)
    value = np.where(known & fresh, last, np.fmax(last, worst))
    return Figures(value, known, (~known).astype(np.int64))


def electricity(fleet: Fleet, moment: Moment) -> Figures:
    """CNY per kWh at the machine: price times PUE; [capacity]."""
    found: Figures = fleet.remember("electricity", moment, _electricity)
    return found


def _electricity(fleet: Fleet, moment: Moment) -> tuple[Figures, float]:
    return _product(energy_price(fleet, moment), pue(fleet, moment)), np.inf


def electricity_of_run(fleet: Fleet, demand: Demand, moment: Moment) -> Figures:
    """The same while the work runs: by the hours of its run where both are known; [capacity].

    Work of unknown duration pays the mean of the day.
    """
    found, seconds = electricity(fleet, moment), demand.schedule.duration_seconds
    if not seconds:
        return found
    value = found.value
    if has_tariffs(fleet):
        start = moment.now_seconds if moment.start_seconds is None else moment.start_seconds
        price = price_at(fleet, start, float(seconds))
        value = np.where(np.isnan(price), value, price * pue(fleet, moment).value)
    return Figures(_less_pv(value, fleet, demand, moment), found.known, found.missing)


def emissions_of_run(fleet: Fleet, demand: Demand, moment: Moment) -> Figures:
    """`emissions`, less what own solar power serves of a short run; [capacity]."""
    found = emissions(fleet, moment)
    if not demand.schedule.duration_seconds:
        return found
    return Figures(_less_pv(found.value, fleet, demand, moment), found.known, found.missing)


def _less_pv(value: Floats, fleet: Fleet, demand: Demand, moment: Moment) -> Floats:
    """The part of a figure that the grid serves; what is below zero stays as it is."""
    watts = replica_kwh_per_hour(demand, moment) * WATTS_PER_KILOWATT
    share = free_share(fleet, demand, moment, watts)
    return value if share is None else value - np.maximum(value, 0.0) * share


def emissions(fleet: Fleet, moment: Moment) -> Figures:
    """Grams of CO2 per kWh at the machine: intensity times PUE; [capacity]."""
    found: Figures = fleet.remember("emissions", moment, _emissions)
    return found


def _emissions(fleet: Fleet, moment: Moment) -> tuple[Figures, float]:
    found = _product(carbon_intensity(fleet, moment), pue(fleet, moment))
    return found, _until(fleet, moment)


def emissions_at_start(fleet: Fleet, demand: Demand, moment: Moment) -> Figures:
    """The same for a run that begins at the moment's start, by forecast; [capacity].

    A yearly factor is the same at every hour.
    """
    start = moment.now_seconds if moment.start_seconds is None else moment.start_seconds
    seconds = float(demand.schedule.duration_seconds or 0)
    found = intensity_at(fleet, start, seconds, moment)
    found = np.where(fleet.yearly, fleet.figure("gco2_per_kwh"), found)
    return _product(_filled(found, moment.terms.fallback_gco2_per_kwh), pue(fleet, moment))


def _until(fleet: Fleet, moment: Moment) -> float:
    """When the next intensity grows old, or one from the future becomes one of now."""
    seen, now = fleet.figure("gco2_observed_at"), moment.now_seconds
    ends, begins = seen + moment.terms.figure_old_seconds, seen - AHEAD_SECONDS
    old = np.nextafter(np.min(ends[ends >= now], initial=np.inf), np.inf)
    return float(min(old, np.min(begins[begins > now], initial=np.inf)))


def _filled(figure: Floats, worst: Floats | float) -> Figures:
    known = ~np.isnan(figure)
    return Figures(np.where(known, figure, worst), known, (~known).astype(np.int64))


def _product(one: Figures, other: Figures) -> Figures:
    return Figures(one.value * other.value, one.known & other.known, one.missing + other.missing)


_QUALITY: tuple[Origin, ...] = (
    "measured",
    "estimated",
    "modelled",
    "yearly",
    "assumed",
    "unknown",
)


def worst_origin(*origins: Origin) -> Origin:
    """A product is as good as the worst of its factors."""
    return max(origins, key=_QUALITY.index)


def pue_origin(facts: SiteFacts) -> Origin:
    """Where a site's PUE comes from."""
    return facts.spec.energy.pue_origin if facts.spec.energy.pue is not None else "unknown"
