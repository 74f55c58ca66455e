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
class DemoActions:
    """What is in force.

    Attributes:
        silent_sites: sites whose agents are kept down.
        grid_intensities: grid zone -> carbon intensity, gCO2e per kWh, instead of the usual one.
    """

    silent_sites: frozenset[str] = frozenset()
    grid_intensities: tuple[tuple[str, float], ...] = ()

    def with_silent(self, site: str) -> "DemoActions":
        """This site falls silent."""
        return replace(self, silent_sites=self.silent_sites | {site})

    def without_silent(self, site: str) -> "DemoActions":
        """This site is back."""
        return replace(self, silent_sites=self.silent_sites - {site})

    def with_grid(self, zone: str, gco2_per_kwh: float | None) -> "DemoActions":
        """A zone's intensity; None: the usual one."""
        others = dict(self.grid_intensities)
        others.pop(zone, None)
        if gco2_per_kwh is not None:
            others[zone] = gco2_per_kwh
        return replace(self, grid_intensities=tuple(sorted(others.items())))


def read_actions(path: Path) -> DemoActions:
    """What the file says; nothing when there is none."""
    found: dict[str, Any] = read_json(path)
    grids = {str(zone): float(value) for zone, value in found.get("grids", {}).items()}
    return DemoActions(frozenset(found.get("silent", ())), tuple(sorted(grids.items())))


def write_actions(path: Path, actions: DemoActions) -> None:
    """Writes whole or not at all."""
    write_json(
        path, {"silent": sorted(actions.silent_sites), "grids": dict(actions.grid_intensities)}
    )
