"""What the page remembers of the last hour: totals, each site's figures, and changes of health.

It is kept in memory only, in little of it, and begins again with the process; what must be proven
later is in the ledger.
"""

from array import array
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from math import isnan, nan
from typing import Final, NamedTuple

from scheduler.model.figures import SiteFigures, fleet_totals
from scheduler.model.formatters import format_rfc3339
from scheduler.web.live.fleet_index import FleetIndex
from scheduler.web.sessions import Sight

SAMPLE_SECONDS: Final = 30.0
_SAMPLES: Final = 120
_FIGURES: Final = ("watts", "gco2PerKwh", "freeCores")
_MAX_CHANGES: Final = 40
_TREND_PHASES: Final = ("Running", "Degraded", "Waiting", "Refused")


class HealthNote(NamedTuple):
    """A change of a site's health.

    Attributes:
        at: when; None: not known.
        health: the health from then on.
    """

    at: datetime | None
    health: str


@dataclass(slots=True)
class History:
    """The last hour, by samples.

    Attributes:
        times: when the samples were taken.
    """

    times: deque[datetime] = field(default_factory=lambda: deque(maxlen=_SAMPLES))
    _totals: dict[str, deque[float | None]] = field(default_factory=dict)
    _figures: "dict[str, array[float]]" = field(default_factory=dict)
    _changes: dict[str, deque[HealthNote]] = field(default_factory=dict)

    def sample(self, index: FleetIndex, now: datetime) -> None:
        """Adds a sample of all figures."""
        self.times.append(now)
        phases = index.phase_counts(Sight())
        totals = fleet_totals(site.figures for site in index.sites.values())
        values: dict[str, float | None] = {one: phases.get(one, 0) for one in _TREND_PHASES}
        values["reporting"] = sum(site.is_reporting for site in index.sites.values())
        values |= {"watts": totals.watts, "gco2PerHour": totals.gco2_per_hour}
        for name, value in values.items():
            self._totals.setdefault(name, deque(maxlen=_SAMPLES)).append(value)
        known = self._figures
        self._figures = {
            name: _with_sample(known.get(name), site.figures) for name, site in index.sites.items()
        }

    def note_health(self, index: FleetIndex) -> None:
        """Notes which sites have another health than at the last look."""
        for name in index.changed:
            site, changes = index.sites[name], self._changes.get(name)
            health = str(site.row["health"])
            if changes is None:
                changes = self._changes[name] = deque(maxlen=_MAX_CHANGES)
            if not changes or changes[-1].health != health:
                changes.append(HealthNote(site.row.get("healthSince"), health))
        if len(self._changes) > len(index.sites):
            self._changes = {name: self._changes[name] for name in index.sites}

    def trend(self) -> dict[str, object]:
        """The totals, oldest first; null where a total was not known."""
        times = [format_rfc3339(one) for one in self.times]
        return {"times": times, **{name: list(values) for name, values in self._totals.items()}}

    def of_site(self, name: str) -> dict[str, object]:
        """The figures of a site, oldest first; null where one was not known."""
        kept, width = self._figures.get(name, array("f")), len(_FIGURES)
        times = list(self.times)[-(len(kept) // width) :] if kept else []
        columns = {
            figure: [None if isnan(value) else round(value, 3) for value in kept[place::width]]
            for place, figure in enumerate(_FIGURES)
        }
        return {"times": [format_rfc3339(one) for one in times], **columns}

    def health_of_site(self, name: str) -> list[dict[str, object]]:
        """The changes of a site's health, newest first."""
        return [
            {"at": one.at, "health": one.health} for one in reversed(self._changes.get(name, ()))
        ]


def _with_sample(kept: "array[float] | None", figures: SiteFigures) -> "array[float]":
    """The samples of a site with one more; single precision is enough for a chart."""
    kept = array("f") if kept is None else kept
    for value in (figures.watts, figures.gco2_per_kwh, figures.free_cores):
        kept.append(nan if value is None else value)
    del kept[: -len(_FIGURES) * _SAMPLES]
    return kept
