"""Monotone totals of agents, turned into joules by hour.

A lost, doubled or late report loses nothing, because totals only grow. What totals cannot say is
never counted as 0 joules: a total that fell, an identity that changed and a figure that no site can
draw make the time `unmeasured`, with the fault's name. Energy between two readings is spread evenly
over the time between them; where that is more than two hours the hours are `estimated`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Literal

from scheduler.model.kinds.fields import Origin
from scheduler.model.units import SECONDS_PER_HOUR

MeterFault = Literal["first-reading", "counter-changed", "counter-fell", "implausible", "unknown"]
"""Why an interval has no energy: nothing came before; another counter; a total that fell without a
known wrap; more power than any site draws, as of W for kW; or the agent knew no power."""

MAX_PLAUSIBLE_WATTS = 1e9
_LONGEST_EXACT_SECONDS = 2 * SECONDS_PER_HOUR
_LONGEST_SPREAD_SECONDS = 40 * 24 * SECONDS_PER_HOUR


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterReading:
    """The totals of one counter at one time.

    Attributes:
        counter_id: which counter; totals of two counters do not compare.
        at_seconds: when, in seconds since 1970.
        it_joules: energy of the equipment; None: unknown.
        pv_joules: energy of the site's own photovoltaics that was used there; None: unknown.
        unmeasured_seconds: time for which the agent knew no power.
        wraps_at_joules: where the counter begins again at 0; None: it does not.
        origin: of the power that was summed up.
    """

    counter_id: str
    at_seconds: float
    it_joules: float | None
    pv_joules: float | None = None
    unmeasured_seconds: float = 0.0
    wraps_at_joules: float | None = None
    origin: Origin = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeteredHour:
    """The part of an hour that an interval covers.

    Attributes:
        hour: hours since 1970, in UTC.
        it_joules: energy of the equipment; None: unknown.
        pv_joules: energy of the own photovoltaics.
        seconds: how much of the hour the interval covers.
        unmeasured_seconds: of these without a known power.
        origin: how the energy was obtained.
    """

    hour: int
    it_joules: float | None
    pv_joules: float
    seconds: float
    unmeasured_seconds: float
    origin: Origin


def metered_hours(
    before: MeterReading | None, after: MeterReading
) -> tuple[list[MeteredHour], MeterFault | None]:
    """What two readings say of the hours between them.

    Args:
        before: the reading before; None: there is none.
        after: the newer one.

    Returns:
        The hours, and why they hold no energy; None: they do.
    """
    if before is None:
        return [], "first-reading"
    seconds = after.at_seconds - before.at_seconds
    if not 0 < seconds <= _LONGEST_SPREAD_SECONDS:
        return [], None if seconds == 0 else "implausible"
    it_joules, fault = _difference(before, after, seconds)
    unmeasured = _grown(before.unmeasured_seconds, after.unmeasured_seconds)
    share_unmeasured = 1.0 if it_joules is None else min(1.0, unmeasured / seconds)
    origin: Origin = "unknown" if it_joules is None else after.origin
    if seconds > _LONGEST_EXACT_SECONDS and origin == "measured":
        origin = "estimated"
    pv_joules = 0.0 if it_joules is None else _grown(before.pv_joules, after.pv_joules)
    if pv_joules / seconds > MAX_PLAUSIBLE_WATTS:
        pv_joules = 0.0  # sun that cannot be is none: then all comes from the grid
    hours = [
        MeteredHour(
            hour=hour,
            it_joules=None if it_joules is None else it_joules * part,
            pv_joules=pv_joules * part,
            seconds=seconds * part,
            unmeasured_seconds=seconds * part * share_unmeasured,
            origin=origin,
        )
        for hour, part in _parts_by_hour(before.at_seconds, after.at_seconds)
    ]
    return hours, fault


def _difference(
    before: MeterReading, after: MeterReading, seconds: float
) -> tuple[float | None, MeterFault | None]:
    if before.counter_id != after.counter_id:
        return None, "counter-changed"
    if before.it_joules is None or after.it_joules is None:
        return None, "unknown"
    grown = after.it_joules - before.it_joules
    if grown < 0 and after.wraps_at_joules is not None:
        grown += after.wraps_at_joules
    fault = _fault_of(grown, seconds)
    if grown == 0 and _grown(before.unmeasured_seconds, after.unmeasured_seconds) > 0:
        fault = "unknown"  # nothing was measured: that is no measured zero
    return (None if fault else grown), fault


def _fault_of(joules: float, seconds: float) -> MeterFault | None:
    if not isfinite(joules) or joules / seconds > MAX_PLAUSIBLE_WATTS:
        return "implausible"
    return "counter-fell" if joules < 0 else None


def _grown(before: float | None, after: float | None) -> float:
    if before is None or after is None or not (isfinite(before) and isfinite(after)):
        return 0.0
    return max(0.0, after - before)


def _parts_by_hour(begin: float, end: float) -> Iterator[tuple[int, float]]:
    """Each hour between two times, and its share of the time between them."""
    hour, whole = int(begin // SECONDS_PER_HOUR), end - begin
    while hour * SECONDS_PER_HOUR < end:
        left = max(begin, hour * SECONDS_PER_HOUR)
        right = min(end, (hour + 1) * SECONDS_PER_HOUR)
        yield hour, (right - left) / whole
        hour += 1
