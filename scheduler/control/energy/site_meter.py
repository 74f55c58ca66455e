"""What is counted of one site since the last page, hour by hour.

Joules of the meter and joules by the model are kept apart until a row is made; then the meter's are
divided. The fraction of a joule that a row leaves goes into the next one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

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
_IMPLAUSIBLE_RATIO = 20.0
"""The model is wrong by a factor of a few; watts that were kilowatts by a thousand."""


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

    def add(self, newer: "_OpenHour") -> None:
        """Adds what was counted of the same hour meanwhile."""
        self.it_joules += newer.it_joules
        self.pv_joules += newer.pv_joules
        self.seconds += newer.seconds
        self.unmeasured_seconds += newer.unmeasured_seconds
        self.origin = worst_origin(self.origin, newer.origin)
        for user, joules in newer.modelled.items():
            self.modelled[user] = self.modelled.get(user, 0.0) + joules


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
    _taken: dict[int, _OpenHour] = field(default_factory=dict)
    _carry_joules: float = 0.0
    _carry_before: float = 0.0

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

    def peek_rows(self) -> list[EnergyHour]:
        """The rows that were counted and not taken yet; changes nothing."""
        return [_close(self._hours[hour], 0.0)[0] for hour in sorted(self._hours)]

    def take_rows(self) -> list[EnergyHour]:
        """The rows that were counted since the last call; `put_back` undoes it."""
        self._taken, self._hours = self._hours, {}
        self._carry_before = self._carry_joules
        rows: list[EnergyHour] = []
        for hour in sorted(self._taken):
            row, self._carry_joules = _close(self._taken[hour], self._carry_joules)
            rows.append(row)
        return rows

    def put_back(self) -> None:
        """Counts the rows again that were taken last, as they could not be recorded."""
        newer, self._hours = self._hours, self._taken
        self._taken, self._carry_joules = {}, self._carry_before
        for hour, one in newer.items():
            known = self._hours.get(hour)
            if known is None:
                self._hours[hour] = one
            else:
                known.add(one)

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


def _close(one: _OpenHour, carry_joules: float) -> tuple[EnergyHour, float]:
    """The row of an hour, and the fraction of a joule that is left of it."""
    exact = one.it_joules + carry_joules
    whole = int(exact)
    embodied = one.row.embodied_grams
    share = one.seconds / SECONDS_PER_HOUR
    row = msgspec.structs.replace(
        one.row,
        it_joules=whole,
        pv_joules=one.pv_joules,
        seconds=one.seconds,
        unmeasured_seconds=min(one.unmeasured_seconds, one.seconds),
        origin=one.origin,
        embodied_grams=None if embodied is None else embodied * share,
        doubt=_doubt_of(one),
        users=bounded_users(attribute_joules(whole, one.modelled)),
    )
    return row, exact - whole


def _doubt_of(one: _OpenHour) -> str:
    """Why a meter is doubted: it says far less than what is placed draws at least."""
    modelled, measured = sum(one.modelled.values()), one.it_joules
    known_seconds = one.seconds - one.unmeasured_seconds
    if known_seconds <= 0 or modelled <= measured * _IMPLAUSIBLE_RATIO:
        return ""
    return (
        f"its meter says {measured / known_seconds:.3g} W where what is placed draws"
        f" {modelled / known_seconds:.3g} W by the model; is the power in kW?"
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
