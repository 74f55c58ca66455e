"""How long workloads wait: from the first sight of a spec to its placement, and until it runs.

Kept in memory only. What this process has not seen from the beginning is not measured: a restart
loses a few waits and invents none.
"""

from dataclasses import dataclass, field

from scheduler.control.ports.telemetry import Telemetry
from scheduler.model.kinds.metadata import WorkKey
from scheduler.runtime.clock import Clock

_RUNS = frozenset({"Running", "Completed"})
_PLACED = frozenset({"Placed", "Running", "Completed", "Degraded"})


@dataclass(slots=True)
class _Wait:
    """One spec that does not run yet."""

    generation: int
    began_seconds: float
    is_placed: bool = False


@dataclass(slots=True)
class Waits:
    """Measures every accepted spec once.

    Attributes:
        clock: for durations.
        telemetry: told of them.
    """

    clock: Clock
    telemetry: Telemetry
    _open: dict[WorkKey, _Wait] = field(default_factory=dict)

    def begin(self, key: WorkKey, generation: int) -> None:
        """A spec is seen; seeing it again changes nothing."""
        known = self._open.get(key)
        if known is None or known.generation != generation:
            self._open[key] = _Wait(generation, self.clock.monotonic())

    def reached(self, key: WorkKey, phase: str | None) -> None:
        """A workload is in this phase now."""
        wait = self._open.get(key)
        if wait is None:
            return
        waited = self.clock.monotonic() - wait.began_seconds
        if phase in _PLACED and not wait.is_placed:
            wait.is_placed = True
            self.telemetry.placed_after(waited)
        if phase in _RUNS:
            del self._open[key]
            self.telemetry.ran_after(waited)

    def end(self, key: WorkKey) -> None:
        """The workload is gone."""
        self._open.pop(key, None)
