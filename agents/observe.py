"""Asks all sensors and puts what they saw together; one that fails costs its own part only."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from agents.metrics.counters import Counters
from agents.protocol.report import Energy
from agents.runtime.clock import Clock
from agents.sensors.energy import EnergyMeter
from agents.sensors.sensor import Look, Sensor, SensorError, merged

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen, and when looking began.

    Attributes:
        look: all sensors together.
        energy: the totals up to then; None if the disk does not take them.
        at: monotonic seconds.
    """

    look: Look
    energy: Energy | None
    at: float


@dataclass(slots=True)
class Watch:
    """All sensors of one agent.

    Attributes:
        sensors: the first that knows a fact is heard.
        meter: sums power up.
        clock: for ages.
        counters: of failures and time.
        bound: pods that hold room by order id, as of the last look.
    """

    sensors: Sequence[Sensor]
    meter: EnergyMeter | None
    clock: Clock
    counters: Counters
    bound: dict[str, int] = field(default_factory=dict, init=False)

    async def observe(self) -> Observation:
        """Looks once through all sensors."""
        started = self.clock.monotonic()
        look = merged([await self._look(sensor) for sensor in self.sensors])
        if look.orders is not None:
            self.bound = {order.id: order.bound for order in look.orders}
        energy = self._energy(look, started)
        self._show("power_watts", look.power.watts if look.power else None)
        self._show(
            "intensity_gco2_per_kwh", look.intensity.gco2_per_kwh if look.intensity else None
        )
        self._show("it_energy_joules_total", energy.it_joules if energy else None)
        return Observation(look, energy, started)

    def _show(self, name: str, value: float | None) -> None:
        """Unknown has no series; 0 is a measured zero."""
        if value is None:
            self.counters.clear(name)
        else:
            self.counters.set(name, value)

    async def _look(self, sensor: Sensor) -> Look:
        started = self.clock.monotonic()
        try:
            look = await sensor.look()
        except (SensorError, OSError) as error:
            self.counters.add("sensor_errors_total", sensor=sensor.name)
            _log.warning("sensor %s: %s", sensor.name, error)
            return Look(faults=(f"{sensor.name}-failed",))
        finally:
            seconds = self.clock.monotonic() - started
            self.counters.add("sensor_seconds_total", seconds, sensor=sensor.name)
        if look.executor and not look.executor.is_reachable:
            self.counters.add("sensor_errors_total", sensor=sensor.name)
        return look

    def _energy(self, look: Look, now: float) -> Energy | None:
        if self.meter is None:
            return None
        try:
            return self.meter.take(look, now)
        except OSError as error:
            self.counters.add("sensor_errors_total", sensor="energy")
            _log.warning("energy totals are not on disk, so they are not reported: %s", error)
            return None
