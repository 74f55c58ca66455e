"""What is counted of one site since the last page, hour by hour.

Joules of the meter and joules by the model are kept apart until a row is made; then the meter's are
divided. The fraction of a joule that a row leaves goes into the next one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import msgspec

from scheduler.energy.accounts.attribution import attribute_joules
from scheduler.energy.accounts.hours import EnergyHour, SiteCounter, bounded_users
from scheduler.energy.accounts.meters import (
    MeteredHour,
    MeterFault,
    MeterReading,
    metered_hours,
)
from scheduler.energy.placement_power import worst_origin
from scheduler.model.kinds.fields import Origin
from scheduler.model.units import SECONDS_PER_HOUR

_MAX_OPEN_HOURS = 45 * 24


@dataclass(slots=True)
class _OpenHour:
    """One hour that is being counted."""

    row: EnergyHour
    it_joules: float = 0.0
    pv_joules: float = 0.0
    seconds: float = 0.0
    unmeasured_seconds: float = 0.0
    origin: Origin = "measured"
    modelled: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class SiteMeter:
    """The meter of one site.

    Attributes:
        reading: the last reading that was counted; None: there was none.
        fault: why the last interval holds no energy; None: it does.
    """

    reading: MeterReading | None = None
    fault: MeterFault | None = None
    _hours: dict[int, _OpenHour] = field(default_factory=dict)
    _carry_joules: float = 0.0

    def count(
        self,
        reading: MeterReading,
        *,
        row_of: Callable[[int], EnergyHour],
        watts_by_user: Mapping[str, float],
    ) -> None:
        """Counts the time since the last reading.

        Args:
            reading: the newer one; one that is not newer changes nothing.
            row_of: makes a row without energy for an hour.
            watts_by_user: what each user draws by the model, at the equipment.
        """
        before = self.reading
        if before is not None and reading.at_seconds <= before.at_seconds:
            return
        hours, self.fault = metered_hours(before, reading)
        self.reading = reading
        for part in hours[:_MAX_OPEN_HOURS]:
            self._add(part, row_of, watts_by_user)

    def _add(
        self,
        part: MeteredHour,
        row_of: Callable[[int], EnergyHour],
        watts_by_user: Mapping[str, float],
    ) -> None:
        open_hour = self._hours.get(part.hour)
        if open_hour is None:
            open_hour = self._hours[part.hour] = _OpenHour(row_of(part.hour), origin=part.origin)
        open_hour.seconds += part.seconds
        open_hour.unmeasured_seconds += part.unmeasured_seconds
        if part.it_joules is None:
            return
        is_first = open_hour.it_joules == 0 and open_hour.origin == "unknown"
        origin = part.origin if is_first else worst_origin(open_hour.origin, part.origin)
        open_hour.origin = origin
        open_hour.it_joules += part.it_joules
        open_hour.pv_joules += part.pv_joules
        for user, watts in watts_by_user.items():
            known = open_hour.modelled.get(user, 0.0)
            open_hour.modelled[user] = known + watts * part.seconds

    def take_rows(self) -> list[EnergyHour]:
        """The rows that were counted since the last call."""
        hours, self._hours = self._hours, {}
        return [self._close(hours[hour]) for hour in sorted(hours)]

    def put_back(self, rows: list[EnergyHour]) -> None:
        """Counts rows again that could not be recorded."""
        for row in rows:
            self._hours[row.hour] = _reopened(row, self._hours.get(row.hour))

    @property
    def counter(self) -> SiteCounter | None:
        """Where the counter stands; None: there was no reading."""
        one = self.reading
        if one is None:
            return None
        return SiteCounter(
            counter_id=one.counter_id,
            at_seconds=one.at_seconds,
            it_joules=one.it_joules,
            pv_joules=one.pv_joules,
            unmeasured_seconds=one.unmeasured_seconds,
        )

    def _close(self, one: _OpenHour) -> EnergyHour:
        exact = one.it_joules + self._carry_joules
        whole = int(exact)
        self._carry_joules = exact - whole
        embodied = one.row.embodied_grams
        share = one.seconds / SECONDS_PER_HOUR
        return msgspec.structs.replace(
            one.row,
            it_joules=whole,
            pv_joules=one.pv_joules,
            seconds=one.seconds,
            unmeasured_seconds=min(one.unmeasured_seconds, one.seconds),
            origin=one.origin,
            embodied_grams=None if embodied is None else embodied * share,
            users=bounded_users(attribute_joules(whole, one.modelled)),
        )


def resumed_meter(counter: SiteCounter) -> SiteMeter:
    """A meter that goes on from where an earlier process stood."""
    return SiteMeter(
        reading=MeterReading(
            counter_id=counter.counter_id,
            at_seconds=counter.at_seconds,
            it_joules=counter.it_joules,
            pv_joules=counter.pv_joules,
            unmeasured_seconds=counter.unmeasured_seconds,
        )
    )


def _reopened(row: EnergyHour, other: _OpenHour | None) -> _OpenHour:
    """An open hour that closes to the same row again, with what was counted meanwhile."""
    share = row.seconds / SECONDS_PER_HOUR
    embodied = row.embodied_grams
    per_hour = None if embodied is None or not share else embodied / share
    opened = _OpenHour(
        msgspec.structs.replace(row, embodied_grams=per_hour, users={}),
        it_joules=row.it_joules,
        pv_joules=row.pv_joules,
        seconds=row.seconds,
        unmeasured_seconds=row.unmeasured_seconds,
        origin=row.origin,
        modelled={user: float(joules) for user, joules in row.users.items() if user},
    )
    if other is None:
        return opened
    for user, joules in other.modelled.items():
        opened.modelled[user] = opened.modelled.get(user, 0.0) + joules
    return replace(
        opened,
        it_joules=opened.it_joules + other.it_joules,
        pv_joules=opened.pv_joules + other.pv_joules,
        seconds=opened.seconds + other.seconds,
        unmeasured_seconds=opened.unmeasured_seconds + other.unmeasured_seconds,
        origin=worst_origin(opened.origin, other.origin),
    )
