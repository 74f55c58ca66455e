"""Answers in the form of the Electricity Maps API, version 3.

`/v3/carbon-intensity/latest`, `/history` (24 hours) and `/forecast`, each for `?zone=DE`. Figures
are flow-traced averages in gCO2eq/kWh, life-cycle unless the answer says `direct`. `isEstimated`
and forecasts are no measurements.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from scheduler.energy.factors.factor import Boundary
from scheduler.energy.intensity.series import (
    ParsedSeries,
    SeriesBuilder,
    SourceError,
    number_of,
    shown,
)

NAME = "electricity-maps"
_HISTORY, _FORECAST, _LATEST = "history", "forecast", "latest"
_BOUNDARIES: dict[str, Boundary] = {"lifecycle": "life-cycle", "direct": "direct"}


def paths_of(zone: str) -> tuple[str, ...]:
    """What is asked for a zone: the last 24 hours, and the forecast."""
    query = urlencode({"zone": zone})
    return tuple(f"/v3/carbon-intensity/{what}?{query}" for what in (_HISTORY, _FORECAST))


def parse(answer: object, *, zone: str) -> ParsedSeries:
    """Reads an answer of any of the three forms.

    Args:
        answer: the JSON value.
        zone: the zone that was asked for.

    Raises:
        SourceError: it is no such answer, or about another zone.
    """
    if not isinstance(answer, Mapping):
        raise SourceError(f"{NAME} {zone}: the answer is no object")
    said = answer.get("zone")
    if said != zone:
        raise SourceError(f"{NAME} {zone}: the answer is about zone {shown(said)}")
    builder = SeriesBuilder(f"{NAME} {zone}")
    for entry, is_forecast in _entries(answer, zone):
        at = _time_of(entry.get("datetime"))
        if at is None:
            builder.refuse(f"{NAME} {zone}: {shown(entry.get('datetime'))} is no time")
            continue
        builder.add(
            at,
            _fields_of(entry, zone, is_forecast=is_forecast),
            number_of(entry.get("carbonIntensity")),
        )
    return builder.build()


def _entries(answer: Mapping[str, Any], zone: str) -> Iterator[tuple[Mapping[str, Any], bool]]:
    for name in (_HISTORY, _FORECAST):
        if name in answer:
            listed = answer[name]
            if not isinstance(listed, list):
                raise SourceError(f"{NAME} {zone}: {name} is no list")
            yield from ((one, name == _FORECAST) for one in listed if isinstance(one, Mapping))
            return
    if "carbonIntensity" not in answer:
        raise SourceError(f"{NAME} {zone}: the answer holds no carbonIntensity")
    yield answer, False


def _fields_of(entry: Mapping[str, Any], zone: str, *, is_forecast: bool) -> dict[str, object]:
    kind = str(entry.get("emissionFactorType", "lifecycle"))
    method = entry.get("estimationMethod")
    is_estimated = bool(entry.get("isEstimated")) or method is not None
    return {
        "origin": "modelled" if is_forecast else "estimated" if is_estimated else "measured",
        "boundary": _BOUNDARIES.get(kind, "unstated"),
        "source": f"{NAME} {zone}" + (" forecast" if is_forecast else ""),
    }


def _time_of(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
