"""Asks all sensors and puts what they saw together; one that fails costs its own part only."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from agents.metrics.counters import Counters
from agents.protocol.report import ReportedEnergy
from agents.runtime.clock import AgentClock
from agents.sensors.energy import EnergyMeter
from agents.sensors.sensor import Observation, Sensor, SensorError, merge_observations

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SiteObservation:
    """What was seen, and when looking began.

    Attributes:
        observation: all sensors together.
        energy: the totals up to then; None if the disk does not take them.
        started_at: monotonic seconds.
    """

    observation: Observation
    energy: ReportedEnergy | None
    started_at: float


@dataclass(slots=True, kw_only=True)
class SensorCollector:
    """All sensors of one agent.

    Attributes:
        sensors: the first that knows a fact is heard.
        meter: sums power up.
        clock: for ages.
        counters: of failures and time.
        bound_pods: pods that hold room by order id, as of the last look.
    """

    sensors: Sequence[Sensor]
    meter: EnergyMeter | None
    clock: AgentClock
    counters: Counters
    bound_pods: dict[str, int] = field(default_factory=dict, init=False)

    async def collect(self) -> SiteObservation:
        """Looks once through all sensors."""
        started = self.clock.monotonic()
        look = merge_observations([await self._read_sensor(sensor) for sensor in self.sensors])
        if look.orders is not None:
            self.bound_pods = {order.id: order.bound for order in look.orders}
        energy = self._record_energy(look, started)
        self._set_gauge("power_watts", look.power.watts if look.power else None)
        self._set_gauge(
            "intensity_gco2_per_kwh", look.intensity.gco2_per_kwh if look.intensity else None
        )
        self._set_gauge("it_energy_joules_total", energy.it_joules if energy else None)
        return SiteObservation(look, energy, started)

    def _set_gauge(self, name: str, value: float | None) -> None:
        """Unknown has no series; 0 is a measured zero."""
        if value is None:
            self.counters.clear(name)
        else:
            self.counters.set(name, value)

    async def _read_sensor(self, sensor: Sensor) -> Observation:
        started = self.clock.monotonic()
        try:
            look = await sensor.observe()
        except (SensorError, OSError) as error:
            self.counters.add("sensor_errors_total", sensor=sensor.name)
            _log.warning("sensor %s: %s", sensor.name, error)
            return Observation(faults=(f"{sensor.name}-failed",))
        finally:
            seconds = self.clock.monotonic() - started
            self.counters.add("sensor_seconds_total", seconds, sensor=sensor.name)
        if look.executor and not look.executor.is_reachable:
            self.counters.add("sensor_errors_total", sensor=sensor.name)
        return look

    def _record_energy(self, observation: Observation, now: float) -> ReportedEnergy | None:
        if self.meter is None:
            return None
        try:
            return self.meter.record(observation, now)
        except OSError as error:
            self.counters.add("sensor_errors_total", sensor="energy")
            _log.warning("energy totals are not on disk, so they are not reported: %s", error)
            return None
