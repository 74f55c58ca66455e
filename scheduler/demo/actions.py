"""Things that somebody does to a demo that runs: written to a file, taken up by the demo.

Silencing and a dirty grid are not in the hub's power: the demo ends the agent's process, or starts
it again with another figure. So they go through a file that the demo looks at.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scheduler.demo.folder import read_json, write_json

DIRTY_GCO2_PER_KWH = 900.0
"""A grid of coal."""


@dataclass(frozen=True, slots=True)
class Pokes:
    """What is in force.

    Attributes:
        silent: sites whose agents are kept down.
        grids: grid zone -> carbon intensity, gCO2e per kWh, instead of the usual one.
    """

    silent: frozenset[str] = frozenset()
    grids: tuple[tuple[str, float], ...] = ()

    def silenced(self, site: str) -> "Pokes":
        """This site falls silent."""
        return replace(self, silent=self.silent | {site})

    def returned(self, site: str) -> "Pokes":
        """This site is back."""
        return replace(self, silent=self.silent - {site})

    def with_grid(self, zone: str, gco2_per_kwh: float | None) -> "Pokes":
        """A zone's intensity; None: the usual one."""
        others = dict(self.grids)
        others.pop(zone, None)
        if gco2_per_kwh is not None:
            others[zone] = gco2_per_kwh
        return replace(self, grids=tuple(sorted(others.items())))


def read_pokes(path: Path) -> Pokes:
    """What the file says; nothing when there is none."""
    found: dict[str, Any] = read_json(path)
    grids = {str(zone): float(value) for zone, value in found.get("grids", {}).items()}
    return Pokes(frozenset(found.get("silent", ())), tuple(sorted(grids.items())))


def write_pokes(path: Path, pokes: Pokes) -> None:
    """Writes whole or not at all."""
    write_json(path, {"silent": sorted(pokes.silent), "grids": dict(pokes.grids)})
