"""Figures of sites that are most likely written in another unit, as kilograms for grams.

Such a figure is used as it is, since only its author knows the right one; a decision about
the site names it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.facts import SiteFacts
from scheduler.model.formatters import format_list
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet

Floats = NDArray[np.float64]

OddFigures = dict[int, list[tuple[str, float]]]
"""By slot: what is implausible, with its unit, and the value."""
_MAX_NAMED = 4


@dataclass(frozen=True, slots=True)
class _Range:
    """What a figure may plausibly be; 0 always may, as own power may be free and clean."""

    title: str
    unit: str
    least: float
    most: float
    most_below_zero: float = 0.0

    def refuses(self, values: Floats) -> NDArray[np.bool_]:
        """Which values are outside; unknown ones are not."""
        too_small = (values > 0) & (values < self.least)
        return (values > self.most) | too_small | (values < -self.most_below_zero)


_INTENSITY = _Range("intensity", "gCO2/kWh", 2.0, 2500.0)
_RANGES = {
    "gco2_per_kwh": _INTENSITY,
    "energy_cny_per_kwh": _Range("energy price", "CNY/kWh", 0.01, 20.0, most_below_zero=5.0),
    "core_cny_per_hour": _Range("core price", "CNY/h", 0.0001, 100.0),
    "pue": _Range("PUE", "", 1.0, 4.0),
}


def find_implausible(fleet: Fleet, context: DecisionContext) -> OddFigures:
    """The implausible figures of all sites; found once for as long as the figures stay."""
    # Both versions only grow, so their sum is new whenever a figure or a forecast is.
    version = fleet.figure_version + fleet.description_columns.version
    found: OddFigures = fleet.cached_figure(
        "implausible", context, _find_implausible, version=version
    )
    return found


def implausible_notes(fleet: Fleet, slots: Iterable[int], found: OddFigures) -> list[str]:
    """A note for each kind of figure that is implausible at some of these sites, with names."""
    by_title: dict[str, list[str]] = {}
    for slot in sorted(found.keys() & set(slots), key=fleet.name_at):
        for title, value in found[slot]:
            by_title.setdefault(title, []).append(f"{fleet.name_at(slot)} ({value:.4g})")
    return [
        f"implausible {title} at {format_list(there, _MAX_NAMED)}: check the unit"
        for title, there in by_title.items()
    ]


def _find_implausible(fleet: Fleet, context: DecisionContext) -> tuple[OddFigures, float]:
    del context
    found: OddFigures = {}
    for name, expected in _RANGES.items():
        _collect(found, fleet, fleet.figure(name), expected, expected.title)
    forecast = fleet.description_column(("odd forecast",), _odd_step_of, np.float64)
    _collect(found, fleet, forecast, _INTENSITY, "forecast of intensity")
    return found, np.inf


def _collect(
    found: OddFigures,
    fleet: Fleet,
    values: Floats,
    expected: _Range,
    title: str,
) -> None:
    shown = f"{title} in {expected.unit}" if expected.unit else title
    for slot in np.flatnonzero(expected.refuses(values) & fleet.has_site).tolist():
        found.setdefault(slot, []).append((shown, float(values[slot])))


def _odd_step_of(facts: SiteFacts) -> float:
    """The first step of the forecast that is implausible; 0 without one."""
    return next(_iter_odd_steps(facts), 0.0)


def _iter_odd_steps(facts: SiteFacts) -> Iterator[float]:
    forecast = facts.forecast
    for each in () if forecast is None else forecast.steps:
        if _INTENSITY.refuses(np.array([each.gco2_per_kwh]))[0]:
            yield each.gco2_per_kwh
