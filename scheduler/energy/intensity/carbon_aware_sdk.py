"""Answers in the form of the Green Software Foundation's Carbon Aware SDK (its Web API).

`/emissions/bylocation?location=…` gives a list of `{location, time, rating, duration}`, and
`/emissions/forecasts/current?location=…` a list of forecasts with `forecastData`. Ratings are
gCO2eq/kWh. The SDK does not say what a figure includes, and with WattTime behind it figures are
marginal, so the boundary is `unstated`.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from scheduler.energy.intensity.series import (
    ParsedSeries,
    SeriesBuilder,
    SourceError,
    number_of,
    shown,
)

NAME = "carbon-aware-sdk"


def paths_of(zone: str) -> tuple[str, ...]:
    """What is asked for a location: what was, and the forecast."""
    query = urlencode({"location": zone})
    return f"/emissions/bylocation?{query}", f"/emissions/forecasts/current?{query}"


def parse(answer: object, *, zone: str) -> ParsedSeries:
    """Reads an answer of either form.

    Args:
        answer: the JSON value.
        zone: the location that was asked for.

    Raises:
        SourceError: it is no such answer, or about another location.
    """
    if not isinstance(answer, list):
        raise SourceError(f"{NAME} {zone}: the answer is no list")
    builder = SeriesBuilder(f"{NAME} {zone}")
    for at, value, origin in _points(answer, zone):
        time = _time_of(at)
        if time is None:
            builder.refuse(f"{NAME} {zone}: {shown(at)} is no time")
            continue
        fields = {"origin": origin, "boundary": "unstated", "source": f"{NAME} {zone}"}
        builder.add(time, fields, number_of(value))
    return builder.build()


def _points(answer: list[Any], zone: str) -> Iterator[tuple[object, object, str]]:
    for entry in answer:
        if not isinstance(entry, Mapping):
            continue
        said = entry.get("location")
        if said != zone:
            raise SourceError(f"{NAME} {zone}: the answer is about location {shown(said)}")
        if "forecastData" in entry:
            listed = entry["forecastData"]
            for one in listed if isinstance(listed, list) else ():
                if isinstance(one, Mapping):
                    yield one.get("timestamp"), one.get("value"), "modelled"
        else:
            yield entry.get("time"), entry.get("rating"), "estimated"


def _time_of(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
