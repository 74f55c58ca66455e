"""Sums power up to energy totals that only grow and survive restarts.

Trapezoids between looks that both knew the power, at most `_LONGEST_GAP_SECONDS` apart; any other
time counts as unmeasured, so that nobody takes a gap for a saving.
"""

import json
import math
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agents.protocol.report import Energy, Power
from agents.runtime.atomic_write import write_durably
from agents.sensors.sensor import Look

_LONGEST_GAP_SECONDS: Final = 300.0


@dataclass(slots=True)
class EnergyMeter:
    """Counters of one site, kept in one small file.

    Attributes:
        path: of that file.
    """

    path: Path
    _counter_id: str = field(init=False)
    _totals: dict[str, float] = field(init=False)
    _last: "tuple[float, float | None, float | None] | None" = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._counter_id, self._totals = _load(self.path)

    def take(self, look: Look, now: float) -> Energy:
        """Counts up to now and says the totals; they are on disk before they are returned.

        Args:
            look: what the sensors saw, put together.
            now: monotonic seconds of that look.

        Raises:
            OSError: the disk does not take them.
        """
        watts = look.power.watts if look.power else None
        if self._last is not None:
            seconds = max(0.0, now - self._last[0])
            self._count("it_joules", "unmeasured_seconds", self._last[1], watts, seconds)
            self._count("pv_joules", None, self._last[2], look.pv_watts, seconds)
        self._last = (now, watts, look.pv_watts)
        self._save()
        return self._energy(look, look.power)

    def read(self, look: Look) -> Energy:
        """Says the totals as they are on disk; counts nothing and writes nothing."""
        return self._energy(look, look.power)

    def _count(
        self, name: str, blind: str | None, before: float | None, now: float | None, seconds: float
    ) -> None:
        if before is not None and now is not None and seconds <= _LONGEST_GAP_SECONDS:
            self._totals[name] = self._totals.get(name, 0.0) + (before + now) / 2 * seconds
        elif blind is not None:
            self._totals[blind] = self._totals.get(blind, 0.0) + seconds

    def _save(self) -> None:
        tree = {"counterId": self._counter_id, "totals": self._totals}
        write_durably(self.path, json.dumps(tree).encode())

    def _energy(self, look: Look, power: Power | None) -> Energy:
        return Energy(
            counter_id=self._counter_id,
            it_joules=self._totals.get("it_joules"),
            pv_joules=self._totals.get("pv_joules"),
            unmeasured_seconds=self._totals.get("unmeasured_seconds"),
            origin=power.origin if power else "unknown",
            pue=look.pue,
            pue_origin=look.pue_origin,
            pv_watts=look.pv_watts,
            battery_ratio=look.battery_ratio,
        )


def _load(path: Path) -> tuple[str, dict[str, float]]:
    """The counters on disk; new ones, under a new id, if they are lost or spoilt."""
    try:
        tree = json.loads(path.read_bytes())
        totals = {str(name): float(value) for name, value in tree["totals"].items()}
        counter_id = str(tree["counterId"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return secrets.token_hex(8), {}
    if not all(math.isfinite(value) and value >= 0 for value in totals.values()):
        return secrets.token_hex(8), {}
    return counter_id, totals
