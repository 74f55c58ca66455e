"""Figures that change with the hour: forecasts of carbon intensity, and tariffs, of all sites."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from scheduler.energy.forecast import IntensityProfile, intensity_profile_of
from scheduler.energy.tariff import Tariff, tariff_of
from scheduler.model.demand.facts import SiteFacts
from scheduler.placement.fleet.context import MAX_CLOCK_SKEW_SECONDS, DecisionContext
from scheduler.placement.fleet.fleet import Fleet

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def group_by_forecast_and_tariff(
    fleet: Fleet, slots: Ints, context: DecisionContext
) -> Iterator[tuple[IntensityProfile | None, Tariff | None, Ints]]:
    """Pairs of forecast and tariff by which a later start may be cheaper, with their sites.

    The present intensity of a site without a forecast counts as that of every hour. A site that has
    lost its forecast is in no pair: nothing is known of its later hours.
    """
    profile_of_slot = {
        slot: profile
        for profile, sites in group_by_fresh_forecast(fleet, slots, context)
        for slot in sites.tolist()
    }
    known, kept = tariffs_of(fleet), _kept_profiles(fleet)
    groups: dict[tuple[int, int], tuple[IntensityProfile | None, Tariff | None, list[int]]] = {}
    for slot in slots.tolist():
        profile, tariff = profile_of_slot.get(slot), known[slot] or None
        if profile is None and kept[slot] != 0:
            continue
        if profile is not None or tariff is not None:
            pair = (id(profile), id(tariff))
            groups.setdefault(pair, (profile, tariff, []))[2].append(slot)
    for profile, tariff, sites in groups.values():
        yield profile, tariff, np.array(sites, np.int64)


def group_by_fresh_forecast(
    fleet: Fleet, slots: Ints, context: DecisionContext
) -> Iterator[tuple[IntensityProfile, Ints]]:
    """The forecasts that are fresh, with the sites of `slots` that have each of them.

    Forecasts that are too old or from the future do not count. Neither do those of sites whose
    present intensity is a yearly factor: emissions are counted by that factor, so a later hour
    saves nothing.
    """
    profiles = fleet.description_column(("forecast",), _profile_of, np.object_)
    oldest = context.now_seconds - context.terms.forecast_old_seconds
    newest = context.now_seconds + MAX_CLOCK_SKEW_SECONDS
    groups: dict[int, tuple[IntensityProfile, list[int]]] = {}
    for slot in slots[profiles[slots] != 0].tolist():
        profile, facts = profiles[slot], fleet.facts[slot]
        is_fresh = oldest <= profile.issued_seconds <= newest
        if facts is not None and facts.has_hourly_intensity and is_fresh:
            groups.setdefault(id(profile), (profile, []))[1].append(slot)
    for profile, sites in groups.values():
        yield profile, np.array(sites, np.int64)


def intensity_of_run(
    fleet: Fleet, present: Floats, duration_seconds: float, context: DecisionContext
) -> Floats:
    """Mean gCO2 per kWh of a run at each site by the site's one series; [slot_capacity].

    The series is the forecast of a site where there is one, else its present figure at every hour.
    For a start now the present figure also stands for the hours of the run that the forecast leaves
    out. A later start that the forecast does not cover is NaN: nothing is known of it.

    What a forecast said and does not say any more, because it is gone, old or has lost steps, never
    makes a site better: a start now counts as the worse of the series and what was last said, and
    a later start of a site that has lost its forecast is NaN.

    Args:
        fleet: the fleet.
        present: the present figures; [slot_capacity].
        duration_seconds: length of the run, above 0.
        context: the time, with the start.
    """
    found, uncovered = present.copy(), _kept_profiles(fleet) != 0
    starts = np.array([context.run_start_seconds])
    for profile, sites in group_by_fresh_forecast(fleet, np.arange(fleet.slot_capacity), context):
        mean = profile.mean_gco2_per_kwh(starts, duration_seconds)[0]
        if np.isnan(mean) and not context.starts_later:
            part, covered = profile.covered_part(starts[0], duration_seconds)
            found[sites] = part + (1.0 - covered) * present[sites]
        else:
            found[sites] = mean
            uncovered[sites] = False
    if context.starts_later:
        found[uncovered] = np.nan
        return found
    said = _last_said_of_run(fleet, np.flatnonzero(uncovered), duration_seconds, context)
    for slot, (part, covered) in said.items():
        found[slot] = max(found[slot], part + (1.0 - covered) * present[slot])
    return found


def _last_said_of_run(
    fleet: Fleet, slots: Ints, duration_seconds: float, context: DecisionContext
) -> dict[int, tuple[float, float]]:
    """`IntensityProfile.covered_part` of a run by the kept forecasts of some sites, by slot."""
    kept, parts = _kept_profiles(fleet), {}
    by_profile: dict[int, tuple[float, float]] = {}
    for slot in slots.tolist():
        profile: IntensityProfile = kept[slot]
        if id(profile) not in by_profile:
            start = context.run_start_seconds
            by_profile[id(profile)] = profile.covered_part(start, duration_seconds)
        parts[slot] = by_profile[id(profile)]
    return parts


def _kept_profiles(fleet: Fleet) -> NDArray[np.object_]:
    """What the forecast of every site last said; 0 where it had none; [slot_capacity].

    A yearly factor takes the place of a forecast, see `group_by_fresh_forecast`.
    """
    found = fleet.description_column(("kept forecast",), _kept_profile_of, np.object_)
    return np.where(fleet.has_yearly_intensity, 0, found)


def has_tariffs(fleet: Fleet) -> bool:
    """Whether any site has a price that changes with the hours."""
    return bool(_has_tariff_by_slot(fleet).any())


def _has_tariff_by_slot(fleet: Fleet) -> NDArray[np.bool_]:
    return fleet.description_column(
        ("has tariff",), lambda facts: tariff_of(facts.spec.prices) is not None, np.bool_
    )


def tariffs_of(fleet: Fleet) -> NDArray[np.object_]:
    """The `Tariff` of every site; 0 where there is none; [slot_capacity]."""
    return fleet.description_column(
        ("tariff",), lambda facts: tariff_of(facts.spec.prices) or 0, np.object_
    )


def tariff_price_of_run(fleet: Fleet, start_seconds: float, duration_seconds: float) -> Floats:
    """Mean CNY per kWh of a run at every site; NaN where there is no tariff; [slot_capacity]."""
    known = tariffs_of(fleet)
    found = np.full(fleet.slot_capacity, np.nan)
    means: dict[int, float] = {}
    for slot in np.flatnonzero(_has_tariff_by_slot(fleet)).tolist():
        tariff: Tariff = known[slot]
        if id(tariff) not in means:
            means[id(tariff)] = float(
                tariff.mean_cny_per_kwh(np.array([start_seconds]), duration_seconds)[0]
            )
        found[slot] = means[id(tariff)]
    return found


def _profile_of(facts: SiteFacts) -> IntensityProfile | int:
    forecast = facts.forecast
    return 0 if forecast is None else intensity_profile_of(forecast) or 0


def _kept_profile_of(facts: SiteFacts) -> IntensityProfile | int:
    kept = facts.kept_forecast
    if kept is None:
        return 0
    forecast = kept.forecast or facts.forecast
    return 0 if forecast is None else intensity_profile_of(forecast) or 0
