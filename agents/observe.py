"""Reads all sensors and merges their observations; a sensor that fails loses only its own part."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from agents.metrics.counters import Counters
from agents.protocol.bounds import MAX_FAULTS
from agents.protocol.report import ReportedEnergy, ReportedMissing
from agents.protocol.status import NotReadyPods
from agents.runtime.clock import AgentClock
from agents.runtime.faults import AgentFaults
from agents.sensors.energy import EnergyMeter
from agents.sensors.not_ready import NotReadySpells
from agents.sensors.sensor import (
    ClosableSensor,
    Observation,
    Sensor,
    SensorError,
    merge_observations,
)

_log = logging.getLogger(__name__)

_SENSOR_SECONDS: Final = 20.0
"""The report goes without a sensor that takes longer; a hostile server could delay it for hours."""

_MISSING_STEP_SECONDS: Final = 60.0
"""Steps of time in a report, so that it does not change with every second."""


@dataclass(frozen=True, slots=True)
class SiteObservation:
    """The merged observation of all sensors.

    Attributes:
        observation: what the sensors observed.
        energy: energy totals up to then; None if they are not saved on disk.
        started_at: monotonic seconds at which reading the sensors began.
    """

    observation: Observation
    energy: ReportedEnergy | None
    started_at: float


@dataclass(slots=True, kw_only=True)
class SensorCollector:
    """Reads all sensors of one agent.

    Attributes:
        sensors: the sensors; the first that knows a fact wins.
        meter: sums power up to energy; None to leave energy out.
        clock: monotonic time.
        counters: counts failures and time by sensor, and holds the last figures.
        faults: the barrier around each sensor.
        other_faults: slugs of what else is wrong with the agent, for the report.
        bound_pods: number of bound pods by order id, as last observed.
        pod_problems: what keeps a pod from running by order id, as last observed.
        not_ready: the pods that are not ready by order id, as last observed.
    """

    sensors: Sequence[Sensor]
    meter: EnergyMeter | None
    clock: AgentClock
    counters: Counters
    faults: AgentFaults = field(default_factory=AgentFaults)
    other_faults: Callable[[], tuple[str, ...]] = tuple
    bound_pods: dict[str, int] = field(default_factory=dict, init=False)
    pod_problems: Mapping[str, str] = field(default_factory=dict, init=False)
    not_ready: Mapping[str, tuple[NotReadyPods, ...]] = field(default_factory=dict, init=False)
    _failed: set[str] = field(default_factory=set, init=False)
    _missing_since: dict[str, float] = field(default_factory=dict, init=False)
    _spells: NotReadySpells = field(default_factory=NotReadySpells, init=False)

    async def collect(self) -> SiteObservation:
        """Reads every sensor once."""
        started = self.clock.monotonic()
        observation = merge_observations(
            [*await self._read_sensors(), Observation(faults=self.other_faults())]
        )
        observation = replace(observation, missing=self._list_missing(started))
        if observation.orders is not None:
            self.bound_pods = {order.id: order.bound for order in observation.orders}
        if observation.pod_problems is not None:
            self.pod_problems = observation.pod_problems
        if observation.not_ready_pods is not None:
            self.not_ready = self._spells.update(observation.not_ready_pods, started)
        energy = self._record_energy(observation, started)
        self._set_gauge("power_watts", observation.power.watts if observation.power else None)
        self._set_gauge(
            "intensity_gco2_per_kwh",
            observation.intensity.gco2_per_kwh if observation.intensity else None,
        )
        self._set_gauge("it_energy_joules_total", energy.it_joules if energy else None)
        return SiteObservation(observation, energy, started)

    def close(self) -> None:
        """Ends what sensors do in the background."""
        for sensor in self.sensors:
            if isinstance(sensor, ClosableSensor):
                sensor.close()

    def _set_gauge(self, name: str, value: float | None) -> None:
        """Sets a gauge; an unknown value has no series, because 0 would be a measured zero."""
        if value is None:
            self.counters.clear(name)
        else:
            self.counters.set(name, value)

    async def _read_sensors(self) -> list[Observation]:
        """Reads all at once, so that one that hangs delays no other."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._read_sensor(sensor)) for sensor in self.sensors]
        return [task.result() for task in tasks]

    def _list_missing(self, now: float) -> tuple[ReportedMissing, ...] | None:
        """The sensors that failed now, and for how long they do."""
        self._missing_since = {
            name: self._missing_since.get(name, now) for name in sorted(self._failed)
        }
        seconds = {name: now - since for name, since in self._missing_since.items()}
        for sensor in self.sensors:
            self.counters.set(
                "sensor_missing_seconds", seconds.get(sensor.name, 0.0), sensor=sensor.name
            )
        return (
            tuple(
                ReportedMissing(
                    sensor=name[:64], seconds=float(lasted - lasted % _MISSING_STEP_SECONDS)
                )
                for name, lasted in seconds.items()
            )[:MAX_FAULTS]
            or None
        )

    async def _read_sensor(self, sensor: Sensor) -> Observation:
        started = self.clock.monotonic()
        observation = Observation(faults=(f"{sensor.name}-failed",))
        self._failed.add(sensor.name)
        if self.faults.is_quarantined("sensor", sensor.name):
            return observation
        try:
            with self.faults.guard("sensor", sensor.name, passing=(SensorError,)):
                async with asyncio.timeout(_SENSOR_SECONDS):
                    observation = await sensor.observe()
        except SensorError as error:
            _log.warning("sensor %s: %s", sensor.name, error)
        is_reached = observation.executor is None or observation.executor.is_reachable
        if f"{sensor.name}-failed" not in (observation.faults or ()) and is_reached:
            self._failed.discard(sensor.name)
        seconds = self.clock.monotonic() - started
        self.counters.add("sensor_seconds_total", seconds, sensor=sensor.name)
        if f"{sensor.name}-failed" in (observation.faults or ()):
            self.counters.add("sensor_errors_total", sensor=sensor.name)
        if observation.executor and not observation.executor.is_reachable:
            self.counters.add("sensor_errors_total", sensor=sensor.name)
        return observation

    def _record_energy(self, observation: Observation, now: float) -> ReportedEnergy | None:
        if self.meter is None:
            return None
        with self.faults.guard("energy"):  # totals that cannot be saved are not reported
            return self.meter.record(observation, now)
        self.counters.add("sensor_errors_total", sensor="energy")
        return None
