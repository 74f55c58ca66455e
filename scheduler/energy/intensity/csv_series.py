"""Intensities of a CSV file: a time with its zone, and grams per kWh.

The header names the columns: `time` (or `datetime…`), and `gco2_per_kwh`, or `kgco2_per_kwh` where
the figures are kilograms. A file of several zones has one column for each (`--zone` picks one) and
says its unit apart. Local times need an offset, because a clock that is set back shows one hour
twice and skips another: such times cannot be distinguished without it.
"""

import csv
from collections.abc import Iterator, Sequence
from datetime import datetime
from io import StringIO
from math import nan

from scheduler.energy.factors.factor import Boundary
from scheduler.energy.intensity.series import ParsedSeries, SeriesBuilder, SourceError, shown
from scheduler.model.kinds.fields import Origin
from scheduler.model.units import GRAMS_PER_KILOGRAM

MAX_CHARACTERS = 16_000_000
_GRAMS, _KILOGRAMS = "gco2_per_kwh", "kgco2_per_kwh"
_TIME_PREFIXES = ("time", "date")


def parse_csv(
    text: str,
    *,
    name: str,
    zone: str = "",
    boundary: Boundary = "unstated",
    origin: Origin = "estimated",
) -> ParsedSeries:
    """Reads a series.

    Args:
        text: the file's content.
        name: of the source, for people.
        zone: the column of a file of several zones, in g/kWh; "": the column names its unit.
        boundary: what the figures include.
        origin: how they were obtained.

    Raises:
        SourceError: it has no such columns, is too long, or holds one hour twice.
    """
    if len(text) > MAX_CHARACTERS:
        raise SourceError(f"{name}: {len(text)} characters, more than {MAX_CHARACTERS}")
    rows = csv.reader(StringIO(text))
    try:
        header = [cell.strip().lower() for cell in next(rows, [])]
    except csv.Error as error:
        raise SourceError(f"{name}: no CSV: {error}") from error
    time_column = _time_column(header, name)
    value_column, scale = _value_column(header, name, zone)
    builder = SeriesBuilder(name)
    fields = {"origin": origin, "boundary": boundary, "source": name}
    seen: set[datetime] = set()
    for line, row in _rows(rows, builder, name, max(time_column, value_column)):
        at = _time_of(row[time_column])
        if at is None:
            builder.refuse(f"{name}, line {line}: {shown(row[time_column])} is no time")
        elif at in seen:
            builder.refuse(f"{name}, line {line}: {at.isoformat()} for the second time")
        else:
            seen.add(at)
            builder.add(at, fields, _number(row[value_column]) * scale)
    return builder.build()


def _rows(
    rows: Iterator[list[str]], builder: SeriesBuilder, name: str, last_column: int
) -> Iterator[tuple[int, Sequence[str]]]:
    lines = enumerate(rows, start=2)
    while True:
        try:
            line, row = next(lines)
        except StopIteration:
            return
        except csv.Error as error:
            raise SourceError(f"{name}: no CSV: {error}") from error
        if not row:
            continue
        if len(row) <= last_column:
            builder.refuse(f"{name}, line {line}: {len(row)} columns are too few")
            continue
        yield line, row


def _time_column(header: Sequence[str], name: str) -> int:
    for index, cell in enumerate(header):
        if cell.startswith(_TIME_PREFIXES):
            return index
    raise SourceError(f"{name}: no column of times; name one `time`")


def _value_column(header: Sequence[str], name: str, zone: str) -> tuple[int, float]:
    if zone:
        if zone.lower() not in header:
            raise SourceError(f"{name}: no column for zone {zone}")
        return header.index(zone.lower()), 1.0
    for index, cell in enumerate(header):
        if cell == _GRAMS:
            return index, 1.0
        if cell == _KILOGRAMS:
            return index, float(GRAMS_PER_KILOGRAM)
    raise SourceError(
        f"{name}: no column {_GRAMS} or {_KILOGRAMS}, so the unit of the figures is not known"
    )


def _time_of(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        return None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return nan
