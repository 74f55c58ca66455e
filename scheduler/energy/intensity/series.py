"""The intensity of each hour of one zone, with what stands in for hours that a feed leaves out.

A figure of the hour itself counts. Without one the newest figure counts for 6 hours, then the mean
of the same hour of the days before until 48 hours, then the yearly factor, then nothing: unknown is
`None`, never 0. What stands in says so in its source, and is no better than `estimated`; with a
yearly factor no saving by time can be claimed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from math import nan

from scheduler.energy.factors.factor import EmissionFactor, FactorError, checked_gco2_per_kwh
from scheduler.model.formatters import format_epoch_seconds
from scheduler.model.kinds.fields import Origin
from scheduler.model.units import SECONDS_PER_HOUR

LAST_FIGURE_HOURS = 6
SAME_HOUR_MEAN_HOURS = 48
_KEPT_HOURS = 31 * 24
_HOURS_PER_DAY = 24
_FEWEST_EQUAL_HOURS = 12
_COMPARED_DAYS = 14
_FEWEST_CONSTANT_HOURS = 48
MAX_POINTS = 20_000
"""Of one answer: two years of hours and a bit. A longer one is refused, not cut."""
MAX_PROBLEMS = 20
_MAX_SHOWN = 80
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_HOUR = int(datetime(2101, 1, 1, tzinfo=UTC).timestamp()) // SECONDS_PER_HOUR


@dataclass(frozen=True, slots=True)
class ParsedSeries:
    """What a source says, checked hour by hour.

    Attributes:
        points: the factor of each hour since 1970 UTC.
        problems: what was refused, by name, the first of many.
    """

    points: Mapping[int, EmissionFactor] = field(default_factory=dict)
    problems: Sequence[str] = ()


class SourceError(ValueError):
    """An answer that cannot be used at all; the message names the source and says why."""


def number_of(value: object) -> float:
    """A number of a JSON answer; NaN, which is refused, for all that is none that fits a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return nan
    try:
        return float(value)
    except OverflowError:
        return nan


def shown(value: object) -> str:
    """What a source says, for messages: as Python writes it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


class SeriesBuilder:
    """Collects checked points of one answer.

    Args:
        name: of the source and zone, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._sums: dict[int, list[EmissionFactor]] = {}
        self._problems: list[str] = []

    def add(self, at: datetime, factor_of: Mapping[str, object], value: float) -> None:
        """Adds the figure of a time; one that is no intensity is refused by name.

        Args:
            at: the time; without a zone it is refused, as it could be any of 24.
            factor_of: the other fields of the `EmissionFactor`.
            value: grams per kWh.
        """
        what = f"{self._name} at {at.isoformat()}"
        if at.tzinfo is None:
            self.refuse(f"{what}: a time without a zone; write it with Z or an offset")
            return
        try:
            checked = checked_gco2_per_kwh(value, what=what)
        except FactorError as error:
            self.refuse(str(error))
            return
        hour = hour_of(at)
        if not 0 <= hour < _MAX_HOUR:
            self.refuse(f"{what}: a time before 1970 or after 2100")
            return
        factor = EmissionFactor(gco2_per_kwh=checked, **factor_of)  # type: ignore[arg-type]
        self._sums.setdefault(hour, []).append(factor)

    def refuse(self, problem: str) -> None:
        """Notes what was refused; of many the first ones are kept."""
        self._problems.append(problem)

    def build(self) -> ParsedSeries:
        """The points: steps shorter than an hour become its mean."""
        if len(self._sums) > MAX_POINTS:
            raise SourceError(f"{self._name}: {len(self._sums)} hours, more than {MAX_POINTS}")
        points = {hour: _mean_of(parts) for hour, parts in self._sums.items()}
        self._name_missing(points)
        problems = self._problems[:MAX_PROBLEMS]
        if len(self._problems) > MAX_PROBLEMS:
            problems.append(f"and {len(self._problems) - MAX_PROBLEMS} more")
        return ParsedSeries(points, tuple(problems))

    def _name_missing(self, points: Mapping[int, EmissionFactor]) -> None:
        if not points:
            return
        hours = sorted(points)
        missing = hours[-1] - hours[0] + 1 - len(hours)
        if missing:
            # They are not listed one by one: between two hours may lie a century.
            before = next(one for one, after in pairwise(hours) if after != one + 1)
            first = format_epoch_seconds((before + 1) * SECONDS_PER_HOUR)
            self.refuse(f"{self._name}: {missing} hours are missing, the first is {first}")


@dataclass(frozen=True, slots=True)
class IntensitySeries:
    """What is known of a zone, of the last 31 days.

    Attributes:
        zone: for people.
        points: the factor of each hour.
        problem: why the feed is doubted; "": it is not.
        is_repeating: it repeats an earlier day; until an hour differs, no equal one is taken in.
    """

    zone: str
    points: Mapping[int, EmissionFactor] = field(default_factory=dict)
    problem: str = ""
    is_repeating: bool = False

    def with_points(self, points: Mapping[int, EmissionFactor]) -> "IntensitySeries":
        """The series with newer points.

        A feed that repeats an earlier day is found, and the repeated hours are dropped. One that
        says the same at every hour is taken in as a yearly factor, as it distinguishes no hours.
        """
        taken = dict(points)
        problem = ""
        if _is_constant({**self.points, **points}):
            taken = {hour: _as_yearly(each) for hour, each in points.items()}
            problem = f"{self.zone}: the feed says the same at every hour"
        merged = {**self.points, **taken}
        repeated = _repeated_hours(merged, fewest=1 if self.is_repeating else _FEWEST_EQUAL_HOURS)
        if repeated:
            problem = f"{self.zone}: the feed repeats the figures of yesterday"
            merged = {hour: each for hour, each in merged.items() if hour not in repeated}
        oldest = max(merged, default=0) - _KEPT_HOURS
        kept = {hour: each for hour, each in merged.items() if hour > oldest}
        return IntensitySeries(self.zone, kept, problem, is_repeating=bool(repeated))

    def factor_at(self, hour: int, yearly: EmissionFactor | None = None) -> EmissionFactor | None:
        """What counts for an hour; None: nothing is known of the zone.

        Args:
            hour: hours since 1970 UTC.
            yearly: the official factor of the zone, the last to stand in.
        """
        if hour in self.points:
            return self.points[hour]
        newest = max((each for each in self.points if each < hour), default=None)
        if newest is None or hour - newest > SAME_HOUR_MEAN_HOURS:
            return yearly
        if hour - newest <= LAST_FIGURE_HOURS:
            last = self.points[newest]
            return _standing_in(last.gco2_per_kwh, last, f"{hour - newest} h old")
        same = [each for each in self.points if each < hour and (hour - each) % _HOURS_PER_DAY == 0]
        if not same:
            return yearly
        mean = sum(self.points[each].gco2_per_kwh for each in same) / len(same)
        boundaries = {self.points[each].boundary for each in same}
        if len(boundaries) > 1:
            return yearly  # a mean of direct and life-cycle figures is neither
        silent = hour - newest
        last = self.points[max(same)]
        return _standing_in(
            mean, last, f"mean of this hour on {len(same)} days, feed silent for {silent} h"
        )


def hour_of(at: datetime) -> int:
    """Hours since 1970 UTC of a time with a zone."""
    # Not by way of UTC: at both ends of the calendar that is no time.
    return int((at - _EPOCH).total_seconds() // SECONDS_PER_HOUR)


def _repeated_hours(points: Mapping[int, EmissionFactor], *, fewest: int) -> set[int]:
    """The newest hours, if each says the same as its hour of an earlier day; empty: they do not.

    Half a day of equal figures that vary is no chance.

    Args:
        points: all that are known.
        fewest: so many hours are no chance.
    """
    run: dict[int, float] = {}
    for hour in sorted(points, reverse=True):
        before = _same_hour_before(points, hour)
        value = points[hour].gco2_per_kwh
        if before is None or value != before:
            break
        run[hour] = value
    is_chance = len(run) < fewest or (fewest > 1 and len(set(run.values())) == 1)
    return set() if is_chance else set(run)


def _same_hour_before(points: Mapping[int, EmissionFactor], hour: int) -> float | None:
    """The figure of the same hour on the nearest earlier day that is known; None: none is."""
    for days in range(1, _COMPARED_DAYS + 1):
        factor = points.get(hour - days * _HOURS_PER_DAY)
        if factor is not None:
            return factor.gco2_per_kwh
    return None


def _standing_in(value: float, like: EmissionFactor, note: str) -> EmissionFactor:
    origin: Origin = "estimated" if like.origin == "measured" else like.origin
    return EmissionFactor(
        gco2_per_kwh=value,
        origin=origin,
        boundary=like.boundary,
        source=f"{like.source} ({note})",
        year=like.year,
    )


def _as_yearly(factor: EmissionFactor) -> EmissionFactor:
    return EmissionFactor(
        gco2_per_kwh=factor.gco2_per_kwh,
        origin="yearly",
        boundary=factor.boundary,
        source=f"{factor.source} (the same at every hour)",
        year=factor.year,
    )


def _is_constant(points: Mapping[int, EmissionFactor]) -> bool:
    values = {each.gco2_per_kwh for each in points.values()}
    return len(points) >= _FEWEST_CONSTANT_HOURS and len(values) == 1


def _mean_of(parts: Iterable[EmissionFactor]) -> EmissionFactor:
    listed = list(parts)
    first = listed[0]
    if len(listed) == 1:
        return first
    return EmissionFactor(
        gco2_per_kwh=sum(each.gco2_per_kwh for each in listed) / len(listed),
        origin=first.origin,
        boundary=first.boundary,
        source=first.source,
        year=first.year,
    )
