"""What a sensor is, what it saw, and how several observations become one."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

from agents.protocol.report import FigureOrigin, ReportSections


@dataclass(frozen=True, kw_only=True)
class Observation(ReportSections):
    """What one sensor saw: sections of a report, and figures that the energy meter puts together.

    Attributes:
        pue: facility power over equipment power.
        pue_origin: where that comes from.
        pv_watts: of the site's own roof, now.
        battery_ratio: state of charge, 0 to 1.
        is_silent: a replayed fault: the agent says nothing for as long as this is so.
    """

    pue: float | None = None
    pue_origin: FigureOrigin | None = None
    pv_watts: float | None = None
    battery_ratio: float | None = None
    is_silent: bool = False


def merge_observations(observations: Sequence[Observation]) -> Observation:
    """One look of many: of each fact the first that is known; faults of all."""
    facts: dict[str, Any] = {}
    for each in fields(Observation):
        values = (getattr(look, each.name) for look in observations)
        facts[each.name] = next((value for value in values if value is not None), None)
    facts["faults"] = tuple(sorted({fault for look in observations for fault in look.faults or ()}))
    facts["is_silent"] = any(look.is_silent for look in observations)
    return Observation(**facts)


class Sensor(Protocol):
    """A source of facts."""

    @property
    def name(self) -> str:
        """A slug, for metrics and faults."""
        ...

    async def observe(self) -> Observation:
        """Looks once.

        Raises:
            SensorError: it cannot see now; the message is for the log.
        """
        ...


class SensorError(Exception):
    """A sensor could not look; the report goes out without its part and names the fault."""


class ReplayError(Exception):
    """A file cannot be replayed; the message names row and column."""
