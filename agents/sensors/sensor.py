"""The interface of a sensor, what it returns, and how observations are merged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, runtime_checkable

from agents.protocol.report import FigureOrigin, ReportSections
from agents.sensors.not_ready import NotReadyPod


@dataclass(frozen=True, kw_only=True)
class Observation(ReportSections):
    """What a sensor observed: sections of a report, and figures for the report's energy section.

    Attributes:
        pue: facility power over equipment power.
        pue_origin: origin of `pue`.
        pv_watts: power of the site's own photovoltaics now.
        battery_ratio: state of charge, 0 to 1.
        pod_problems: what keeps a pod of an order from running, by order id; for the status.
        not_ready_pods: the pods of orders that are not ready; for the status.
        is_silent: a replayed fault: the agent sends no reports while it is True.
    """

    pue: float | None = None
    pue_origin: FigureOrigin | None = None
    pv_watts: float | None = None
    battery_ratio: float | None = None
    pod_problems: Mapping[str, str] | None = None
    not_ready_pods: tuple[NotReadyPod, ...] | None = None
    is_silent: bool = False


def merge_observations(observations: Sequence[Observation]) -> Observation:
    """Merges observations: the first known value of each fact, and the faults of all."""
    facts: dict[str, Any] = {}
    for each in fields(Observation):
        values = (getattr(observation, each.name) for observation in observations)
        facts[each.name] = next((value for value in values if value is not None), None)
    facts["faults"] = tuple(
        sorted({fault for observation in observations for fault in observation.faults or ()})
    )
    facts["is_silent"] = any(observation.is_silent for observation in observations)
    return Observation(**facts)


class Sensor(Protocol):
    """A source of facts about the site."""

    @property
    def name(self) -> str:
        """Slug of the sensor, for metrics and faults."""
        ...

    async def observe(self) -> Observation:
        """Returns what the sensor knows now.

        Raises:
            SensorError: it cannot observe now; the message is for the log.
        """
        ...


@runtime_checkable
class ClosableSensor(Protocol):
    """A sensor that does something in the background."""

    def close(self) -> None:
        """Ends that; it need not be over when this returns."""
        ...


class SensorError(Exception):
    """A sensor could not observe; the report is sent without its part and lists the fault."""


class ReplayError(Exception):
    """A replay file cannot be used; the message names file, row and column."""
