"""How long workloads wait: from the first sight of a spec to its placement, and until it runs.

Kept in memory only. A wait that began before this process is not measured, so that a restart loses
a few waits and reports no wrong ones.
"""

from dataclasses import dataclass, field

from scheduler.control.ports.telemetry import Telemetry
from scheduler.model.kinds.metadata import WorkKey
from scheduler.runtime.clock import Clock

_RUNNING_PHASES = frozenset({"Running", "Completed"})
_PLACED_PHASES = frozenset({"Placed", "Running", "Completed", "Degraded"})


@dataclass(slots=True)
class _Wait:
    """The wait of one spec that does not run yet."""

    generation: int
    began_seconds: float
    is_placed: bool = False


@dataclass(slots=True)
class WaitTimes:
    """Measures every accepted spec once.

    Attributes:
        clock: for durations.
        telemetry: observes them.
    """

    clock: Clock
    telemetry: Telemetry
    _waits: dict[WorkKey, _Wait] = field(default_factory=dict)

    def begin(self, key: WorkKey, generation: int) -> None:
        """Begins the wait of a spec, unless it has begun already."""
        known = self._waits.get(key)
        if known is None or known.generation != generation:
            self._waits[key] = _Wait(generation, self.clock.monotonic())

    def record_phase(self, key: WorkKey, phase: str | None) -> None:
        """Ends waits according to the phase that a workload is in now."""
        wait = self._waits.get(key)
        if wait is None:
            return
        waited = self.clock.monotonic() - wait.began_seconds
        if phase in _PLACED_PHASES and not wait.is_placed:
            wait.is_placed = True
            self.telemetry.observe_time_to_placed(waited)
        if phase in _RUNNING_PHASES:
            del self._waits[key]
            self.telemetry.observe_time_to_running(waited)

    def forget(self, key: WorkKey) -> None:
        """Forgets a workload that is gone."""
        self._waits.pop(key, None)
