"""A calendar month in a time zone, as hours since 1970 UTC.

Rows of energy are of whole hours of UTC, so the month must begin at a full hour: it does in every
zone whose offset is whole hours, summer time or not. China has one zone and none of that.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from scheduler.model.units import SECONDS_PER_HOUR

DEFAULT_ZONE = "Asia/Shanghai"
_CHINA = timezone(timedelta(hours=8), DEFAULT_ZONE)
_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")
_OFFSET = re.compile(r"([+-])(\d{2}):(\d{2})")
_FIRST_YEAR, _LAST_YEAR = 1971, 2900
_DECEMBER = 12


class MonthError(ValueError):
    """The month or the zone cannot be used; the message says what to write."""


@dataclass(frozen=True, slots=True)
class Month:
    """A month.

    Attributes:
        name: as `2026-11`.
        zone: the time zone's name.
        first_hour: its first hour, since 1970 UTC.
        end_hour: the hour after its last one.
    """

    name: str
    zone: str
    first_hour: int
    end_hour: int

    @property
    def hours(self) -> int:
        """How many hours it has: summer time makes one more or less."""
        return self.end_hour - self.first_hour


def month_of(text: str, zone: str = DEFAULT_ZONE) -> Month:
    """Reads a month.

    Args:
        text: `YYYY-MM`.
        zone: an IANA name, or an offset as `+08:00`.

    Raises:
        MonthError: it is none, or does not begin at a full hour of UTC.
    """
    match = _MONTH.fullmatch(text)
    if match is None or not _FIRST_YEAR <= int(match[1]) <= _LAST_YEAR:
        raise MonthError(f"invalid month {text!r}: expected YYYY-MM, such as 2026-11")
    year, month = int(match[1]), int(match[2])
    where = _zone_of(zone)
    is_last = month == _DECEMBER
    begin = datetime(year, month, 1, tzinfo=where)
    end = datetime(year + is_last, 1 if is_last else month + 1, 1, tzinfo=where)
    return Month(text, zone, _hour(begin, zone), _hour(end, zone))


def _zone_of(name: str) -> tzinfo:
    match = _OFFSET.fullmatch(name)
    if match:
        offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
        if offset < timedelta(hours=24):
            return timezone(offset if match[1] == "+" else -offset)
    if name in {"UTC", "Z"}:
        return UTC
    if name == DEFAULT_ZONE:
        return _CHINA  # also where no time zone data is installed
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise MonthError(
            f"unknown time zone {name!r}: write an IANA name such as Asia/Shanghai, or +08:00"
        ) from None


def _hour(at: datetime, zone: str) -> int:
    hours, rest = divmod(int(at.timestamp()), SECONDS_PER_HOUR)
    if rest:
        raise MonthError(
            f"time zone {zone}: its months do not begin at a full hour of UTC, and energy is kept "
            "by hours of UTC; use --time-zone UTC"
        )
    return hours
