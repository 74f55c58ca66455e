"""Which loops of the agent have not come round for too long.

An event loop that turns shows that no code blocks it; it does not show that the loop that reports
still runs. So each loop that should come round by itself says so each time, and within how many
seconds the next time is. The watchdog of the service manager and `/healthz` go by it.
"""

from dataclasses import dataclass, field

from agents.runtime.clock import AgentClock, AgentSystemClock


@dataclass(slots=True)
class Heartbeats:
    """When each loop has to come round again.

    Attributes:
        clock: monotonic time, which stands still while the machine sleeps.
    """

    clock: AgentClock = field(default_factory=AgentSystemClock)
    _due: dict[str, float] = field(default_factory=dict, init=False)

    def beat(self, loop: str, *, within_seconds: float) -> None:
        """Notes that a loop has come round.

        Args:
            loop: its name.
            within_seconds: the longest time that its next round may take, pauses included.
        """
        self._due[loop] = self.clock.monotonic() + within_seconds

    def end(self, loop: str) -> None:
        """Expects nothing of a loop any longer."""
        self._due.pop(loop, None)

    def overdue(self) -> tuple[str, ...]:
        """The names of the loops that are late, sorted."""
        now = self.clock.monotonic()
        return tuple(sorted(name for name, due in self._due.items() if due < now))
