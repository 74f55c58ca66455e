"""The forecasts of all sites, as a decision about a later start sees them."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from scheduler.energy.forecast import HOURLY_ORIGINS, Profile, profile_of
from scheduler.model.facts import SiteFacts
from scheduler.placement.fleet import Fleet
from scheduler.placement.moment import Moment

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def believed(fleet: Fleet, slots: Ints, moment: Moment) -> Iterator[tuple[Profile, Ints]]:
    """Every forecast by which a saving may be claimed, with the sites of `slots` that have it.

    Not one that is too old; nor where the present figure is a yearly factor: there the account
    knows no hours.
    """
    profiles = fleet.described(("forecast",), _profile_of, np.object_)
    oldest = moment.now_seconds - moment.terms.forecast_old_seconds
    sharing: dict[int, tuple[Profile, list[int]]] = {}
    for slot in slots[profiles[slots] != 0].tolist():
        profile, facts = profiles[slot], fleet.facts[slot]
        if facts is not None and _follows_hours(facts) and profile.issued_seconds >= oldest:
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


def _profile_of(facts: SiteFacts) -> Profile | int:
    forecast = facts.spec.energy.forecast
    return 0 if forecast is None else profile_of(forecast) or 0


def _follows_hours(facts: SiteFacts) -> bool:
    intensity = facts.status.intensity
    return intensity is not None and intensity.origin in HOURLY_ORIGINS
