"""Sums power up to energy totals, which only grow and survive restarts.

A disk that was put back to an older state, or copied to another machine, has totals that were
counted on from elsewhere. The hub finds it by the number of starts; the count begins again at 0.

Between two observations at most `_MAX_GAP_SECONDS` apart that both know the power, the energy is
their mean power times the time (trapezoidal rule). All other time counts as unmeasured, so that a
gap is not taken for a saving.
"""

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

from agents.protocol.bounds import MAX_JOULES, MAX_SECONDS, Between, Word
from agents.protocol.codec import Codec
from agents.protocol.errors import WireError
from agents.protocol.report import ReportedEnergy, ReportedPower
from agents.runtime.data_dir import write_durably
from agents.sensors.sensor import Observation

_MAX_GAP_SECONDS: Final = 300.0
_MAX_FILE_BYTES: Final = 4_096
_NAMES: Final[tuple[str, ...]] = ("it_joules", "pv_joules", "unmeasured_seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class _SavedTotals:
    """The file's content."""

    counter_id: Word
    totals: dict[Word, Annotated[float, Between(0, MAX_JOULES)]]


_SAVED_TOTALS: Final = Codec(_SavedTotals, max_bytes=_MAX_FILE_BYTES)


@dataclass(slots=True)
class EnergyMeter:
    """The energy counters of one site, kept in one small file.

    Attributes:
        path: path of the file.
    """

    path: Path
    _counter_id: str = field(init=False)
    _totals: dict[str, float] = field(init=False)
    # Monotonic seconds, watts of the equipment, watts of the photovoltaics.
    _last_reading: "tuple[float, float | None, float | None] | None" = field(
        default=None, init=False
    )

    def __post_init__(self) -> None:
        self._counter_id, self._totals = _load_totals(self.path)

    def record(self, observation: Observation, now: float) -> ReportedEnergy:
        """Counts up to now and returns the totals; they are on disk before they are returned.

        Args:
            observation: merged observation of all sensors.
            now: monotonic seconds of the observation.

        Raises:
            OSError: the totals cannot be written to disk.
        """
        watts = observation.power.watts if observation.power else None
        if self._last_reading is not None:
            seconds = max(0.0, now - self._last_reading[0])
            self._add_interval(
                "it_joules", "unmeasured_seconds", self._last_reading[1], watts, seconds
            )
            self._add_interval(
                "pv_joules", None, self._last_reading[2], observation.pv_watts, seconds
            )
        self._last_reading = (now, watts, observation.pv_watts)
        self._save()
        return self._build_energy(observation, observation.power)

    def begin_again(self) -> None:
        """Counts from 0 under a new id: the totals on this disk are an older state, or a copy.

        Another agent may have counted on from the same totals, so one id would mean two counts.
        """
        self._counter_id, self._totals = secrets.token_hex(8), {}

    def read_totals(self, observation: Observation) -> ReportedEnergy:
        """Returns the totals as they are on disk; counts nothing and writes nothing."""
        return self._build_energy(observation, observation.power)

    def _add_interval(
        self,
        total: str,
        unmeasured_total: str | None,
        watts_before: float | None,
        watts_now: float | None,
        seconds: float,
    ) -> None:
        if watts_before is not None and watts_now is not None and seconds <= _MAX_GAP_SECONDS:
            energy = self._totals.get(total, 0.0) + (watts_before + watts_now) / 2 * seconds
            self._totals[total] = min(energy, MAX_JOULES)
        elif unmeasured_total is not None:
            unmeasured_seconds = self._totals.get(unmeasured_total, 0.0) + seconds
            self._totals[unmeasured_total] = min(unmeasured_seconds, MAX_SECONDS)

    def _save(self) -> None:
        saved = _SavedTotals(counter_id=self._counter_id, totals=self._totals)
        write_durably(self.path, _SAVED_TOTALS.encode(saved))

    def _build_energy(
        self, observation: Observation, power: ReportedPower | None
    ) -> ReportedEnergy:
        return ReportedEnergy(
            counter_id=self._counter_id,
            it_joules=self._totals.get("it_joules"),
            pv_joules=self._totals.get("pv_joules"),
            unmeasured_seconds=self._totals.get("unmeasured_seconds"),
            origin=power.origin if power else "unknown",
            pue=observation.pue,
            pue_origin=observation.pue_origin,
            pv_watts=observation.pv_watts,
            battery_ratio=observation.battery_ratio,
        )


def _load_totals(path: Path) -> tuple[str, dict[str, float]]:
    """Loads the counters; new ones, with a new id, if the file is missing or corrupt."""
    try:
        with path.open("rb") as file:
            saved = _SAVED_TOTALS.decode(file.read(_MAX_FILE_BYTES + 1))
    except (OSError, WireError):
        return secrets.token_hex(8), {}
    totals = {name: saved.totals[name] for name in _NAMES if name in saved.totals}
    return saved.counter_id, totals
