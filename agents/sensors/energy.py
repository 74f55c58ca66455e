"""Sums power up to energy totals, which only grow and survive restarts.

Between two observations at most `_MAX_GAP_SECONDS` apart that both know the power, the energy is
their mean power times the time (trapezoidal rule). All other time counts as unmeasured, so that a
gap is not taken for a saving.
"""

import json
import math
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agents.protocol.report import ReportedEnergy, ReportedPower
from agents.runtime.data_dir import write_durably
from agents.sensors.sensor import Observation

_MAX_GAP_SECONDS: Final = 300.0


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
            self._totals[total] = (
                self._totals.get(total, 0.0) + (watts_before + watts_now) / 2 * seconds
            )
        elif unmeasured_total is not None:
            self._totals[unmeasured_total] = self._totals.get(unmeasured_total, 0.0) + seconds

    def _save(self) -> None:
        tree = {"counterId": self._counter_id, "totals": self._totals}
        write_durably(self.path, json.dumps(tree).encode())

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
        tree = json.loads(path.read_bytes())
        totals = {str(name): float(value) for name, value in tree["totals"].items()}
        counter_id = str(tree["counterId"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return secrets.token_hex(8), {}
    if not all(math.isfinite(value) and value >= 0 for value in totals.values()):
        return secrets.token_hex(8), {}
    return counter_id, totals
