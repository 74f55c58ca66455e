"""Replays figures and faults over time from a file, for demos, tests and simulations.

The file is a CSV with a header, or a YAML list of maps. All columns but the first are optional:

    seconds              time since the start, ascending; a row holds until the next one
    power_watts          power that the equipment draws
    gco2_per_kwh         carbon intensity of the grid
    pv_watts             power of the site's own photovoltaics
    battery_ratio        state of charge, 0 to 1
    pue                  facility power over equipment power
    origin               origin of the row's figures; default: measured
    fault                a slug for the report's faults; `silent`: the agent sends no reports

An empty cell means unknown at that time, not the value of the row before.
"""

import csv
import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, cast, get_args

from agents.protocol.report import FigureOrigin, ReportedIntensity, ReportedPower
from agents.runtime.clock import AgentClock
from agents.sensors.sensor import Observation, ReplayError

FAULT_SILENT: Final = "silent"
_FIGURE_COLUMNS: Final = ("power_watts", "gco2_per_kwh", "pv_watts", "battery_ratio", "pue")
_COLUMNS: Final = ("seconds", *_FIGURE_COLUMNS, "origin", "fault")
_MAX_ROWS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class ReplayRow:
    """Figures that hold from a time on.

    Attributes:
        seconds: time since the start of the file.
        figures: values by column, of `_FIGURE_COLUMNS`.
        origin: origin of the figures.
        fault: slug of a fault; None if there is none.
    """

    seconds: float
    figures: Mapping[str, float]
    origin: FigureOrigin
    fault: str | None


@dataclass(slots=True, kw_only=True)
class ReplaySensor:
    """Replays rows by the clock.

    Attributes:
        rows: rows, ascending in time.
        clock: monotonic time.
        is_looping: starts again once the last row has held as long as the one before it.
        speed_ratio: seconds of the file per second of the clock.
        name: slug of the sensor.
    """

    rows: tuple[ReplayRow, ...]
    clock: AgentClock
    is_looping: bool = True
    speed_ratio: float = 1.0
    name: str = "replay"
    _started_at: float = field(init=False)

    def __post_init__(self) -> None:
        self._started_at = self.clock.monotonic()

    async def observe(self) -> Observation:
        """Returns the figures that hold now; nothing is known before the first row."""
        seconds = (self.clock.monotonic() - self._started_at) * self.speed_ratio
        row = row_at(self.rows, seconds, is_looping=self.is_looping)
        return Observation() if row is None else _observation_of(row)


def row_at(rows: tuple[ReplayRow, ...], seconds: float, *, is_looping: bool) -> ReplayRow | None:
    """The row that holds at a time; None before the first row."""
    if is_looping:
        last_step = rows[-1].seconds - rows[-2].seconds if len(rows) > 1 else 1.0
        seconds %= rows[-1].seconds + (last_step or 1.0)
    at = bisect_right(rows, seconds, key=lambda row: row.seconds)
    return rows[at - 1] if at else None


def read_rows(path: Path) -> tuple[ReplayRow, ...]:
    """Reads a CSV or YAML file.

    Raises:
        ReplayError: the file cannot be read, is empty, or has an invalid cell.
    """
    try:
        raw = _read_yaml_rows(path) if path.suffix in (".yaml", ".yml") else _read_csv_rows(path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ReplayError(f"{path}: {error}") from error
    if not raw or len(raw) > _MAX_ROWS:
        raise ReplayError(f"{path}: expected 1 to {_MAX_ROWS} rows, found {len(raw)}")
    rows = tuple(_parse_row(each, f"{path}: row {at}") for at, each in enumerate(raw, 1))
    if any(after.seconds < row.seconds for row, after in pairwise(rows)):
        raise ReplayError(f"{path}: seconds must ascend")
    return rows


def _read_csv_rows(path: Path) -> list[Any]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def _read_yaml_rows(path: Path) -> list[Any]:
    import yaml  # noqa: PLC0415 - only for this form of the file

    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ReplayError(f"{path}: not YAML: {error}") from error
    if not isinstance(raw, list):
        raise ReplayError(f"{path}: expected a list of maps")
    return raw


def _parse_row(raw: object, where: str) -> ReplayRow:
    if not isinstance(raw, dict):
        raise ReplayError(f"{where}: expected a map")
    for column in raw:
        if column not in _COLUMNS:
            raise ReplayError(f"{where}: unknown column {column!r}; known: {', '.join(_COLUMNS)}")
    cells = {name: cell for name, cell in raw.items() if cell is not None and cell != ""}
    origin = str(cells.get("origin", "measured"))
    if origin not in get_args(FigureOrigin):
        raise ReplayError(
            f"{where}: origin: expected one of {', '.join(get_args(FigureOrigin))}, "
            f"found {origin!r}"
        )
    figures = {
        name: _parse_number(cells[name], where, name) for name in _FIGURE_COLUMNS if name in cells
    }
    return ReplayRow(
        seconds=_parse_number(cells.get("seconds"), where, "seconds"),
        figures=figures,
        origin=cast("FigureOrigin", origin),
        fault=str(cells["fault"]) if "fault" in cells else None,
    )


def _parse_number(cell: object, where: str, column: str) -> float:
    try:
        value = float(str(cell))
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise ReplayError(f"{where}: {column}: expected a number from 0, found {cell!r}")
    return value


def _observation_of(row: ReplayRow) -> Observation:
    figures, origin = row.figures, row.origin
    watts, grams = figures.get("power_watts"), figures.get("gco2_per_kwh")
    return Observation(
        power=None if watts is None else ReportedPower(watts=watts, origin=origin),
        intensity=None if grams is None else ReportedIntensity(gco2_per_kwh=grams, origin=origin),
        pue=figures.get("pue"),
        pue_origin=origin if "pue" in figures else None,
        pv_watts=figures.get("pv_watts"),
        battery_ratio=figures.get("battery_ratio"),
        faults=(row.fault,) if row.fault else None,
        is_silent=row.fault == FAULT_SILENT,
    )
