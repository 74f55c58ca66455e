"""Actions on a running demo: `kapok demo poke` writes them to a file, the demo carries them out.

The hub can neither silence a site nor change the carbon intensity of a grid: the demo has to stop
the agent's process, or restart it with another figure. So the request goes through a file that the
demo reads periodically.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scheduler.demo.folder import read_json, write_json

DIRTY_GCO2_PER_KWH = 900.0
"""Carbon intensity of a grid that burns coal."""


@dataclass(frozen=True, slots=True)
class DemoActions:
    """The actions in force.

    Attributes:
        silent_sites: sites whose agent does not run.
        grid_intensities: carbon intensity by grid zone, gCO2e per kWh, instead of the usual one.
    """

    silent_sites: frozenset[str] = frozenset()
    grid_intensities: tuple[tuple[str, float], ...] = ()

    def with_silent(self, site: str) -> "DemoActions":
        """The same, with this site silent."""
        return replace(self, silent_sites=self.silent_sites | {site})

    def without_silent(self, site: str) -> "DemoActions":
        """The same, with this site's agent running again."""
        return replace(self, silent_sites=self.silent_sites - {site})

    def with_grid(self, zone: str, gco2_per_kwh: float | None) -> "DemoActions":
        """The same, with another carbon intensity of a zone; None: the usual one."""
        others = dict(self.grid_intensities)
        others.pop(zone, None)
        if gco2_per_kwh is not None:
            others[zone] = gco2_per_kwh
        return replace(self, grid_intensities=tuple(sorted(others.items())))


def read_actions(path: Path) -> DemoActions:
    """The actions in a file; no actions when the file does not exist."""
    found: dict[str, Any] = read_json(path)
    grids = {str(zone): float(value) for zone, value in found.get("grids", {}).items()}
    return DemoActions(frozenset(found.get("silent", ())), tuple(sorted(grids.items())))


def write_actions(path: Path, actions: DemoActions) -> None:
    """Writes the actions atomically: a reader sees the old file or the new one."""
    write_json(
        path, {"silent": sorted(actions.silent_sites), "grids": dict(actions.grid_intensities)}
    )
