"""What the hours bring at all sites: forecasts of intensity, and tariffs."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from scheduler.energy.forecast import HOURLY_ORIGINS, Profile, profile_of
from scheduler.energy.tariff import Tariff, tariff_of
from scheduler.model.demand.facts import SiteFacts
from scheduler.placement.fleet.context import AHEAD_SECONDS, Moment
from scheduler.placement.fleet.fleet import Fleet

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def changing(
    fleet: Fleet, slots: Ints, moment: Moment
) -> Iterator[tuple[Profile | None, Tariff | None, Ints]]:
    """Forecasts and tariffs by which a later start may be cheaper, with the sites of each pair.

    A site without a forecast is there only where its intensity is the same at every hour, by a
    yearly factor: of any other its later figure is not known.
    """
    profile_of_slot = {
        slot: profile
        for profile, sites in believed(fleet, slots, moment)
        for slot in sites.tolist()
    }
    known = tariffs(fleet)
    sharing: dict[tuple[int, int], tuple[Profile | None, Tariff | None, list[int]]] = {}
    for slot in slots.tolist():
        profile, tariff = profile_of_slot.get(slot), known[slot] or None
        if profile is not None or (tariff is not None and fleet.yearly[slot]):
            pair = (id(profile), id(tariff))
            sharing.setdefault(pair, (profile, tariff, []))[2].append(slot)
    for profile, tariff, sites in sharing.values():
        yield profile, tariff, np.array(sites, np.int64)


def believed(fleet: Fleet, slots: Ints, moment: Moment) -> Iterator[tuple[Profile, Ints]]:
    """Every forecast by which a saving may be claimed, with the sites of `slots` that have it.

    Not one that is too old, or from the future; nor where the present figure is a yearly factor:
    there the account knows no hours.
    """
    profiles = fleet.described(("forecast",), _profile_of, np.object_)
    oldest = moment.now_seconds - moment.terms.forecast_old_seconds
    newest = moment.now_seconds + AHEAD_SECONDS
    sharing: dict[int, tuple[Profile, list[int]]] = {}
    for slot in slots[profiles[slots] != 0].tolist():
        profile, facts = profiles[slot], fleet.facts[slot]
        is_fresh = oldest <= profile.issued_seconds <= newest
        if facts is not None and follows_hours(facts) and is_fresh:
            sharing.setdefault(id(profile), (profile, []))[1].append(slot)
    for profile, sites in sharing.values():
        yield profile, np.array(sites, np.int64)


def intensity_at(
    fleet: Fleet, start_seconds: float, duration_seconds: float, moment: Moment
) -> Floats:
    """Mean gCO2 per kWh of a run at every site; NaN where no forecast covers it; [capacity]."""
    found = np.full(fleet.capacity, np.nan)
    for profile, sites in believed(fleet, np.arange(fleet.capacity), moment):
        found[sites] = profile.mean(np.array([start_seconds]), duration_seconds)[0]
    return found


def has_tariffs(fleet: Fleet) -> bool:
    """Whether any site has a price that changes with the hours."""
    return bool(_have_tariff(fleet).any())


def _have_tariff(fleet: Fleet) -> NDArray[np.bool_]:
    return fleet.described(
        ("has tariff",), lambda facts: tariff_of(facts.spec.prices) is not None, np.bool_
    )


def tariffs(fleet: Fleet) -> NDArray[np.object_]:
    """The tariff of every site; 0: none; [capacity]."""
    return fleet.described(("tariff",), lambda facts: tariff_of(facts.spec.prices) or 0, np.object_)


def price_at(fleet: Fleet, start_seconds: float, duration_seconds: float) -> Floats:
    """Mean CNY per kWh of a run, where a tariff tells; elsewhere NaN; [capacity]."""
    known = tariffs(fleet)
    found = np.full(fleet.capacity, np.nan)
    means: dict[int, float] = {}
    for slot in np.flatnonzero(_have_tariff(fleet)).tolist():
        tariff: Tariff = known[slot]
        if id(tariff) not in means:
            means[id(tariff)] = float(tariff.mean(np.array([start_seconds]), duration_seconds)[0])
        found[slot] = means[id(tariff)]
    return found


def _profile_of(facts: SiteFacts) -> Profile | int:
    forecast = facts.spec.energy.forecast
    return 0 if forecast is None else profile_of(forecast) or 0


def follows_hours(facts: SiteFacts) -> bool:
    """Whether the present intensity of a site is one of the hour, and no yearly factor."""
    intensity = facts.status.intensity
    return intensity is not None and intensity.origin in HOURLY_ORIGINS
