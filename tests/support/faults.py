"""The handling of faults, for tests."""

from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults
from tests.support.fake_clock import FakeClock


def make_faults(clock: Clock | None = None, counted: list[str] | None = None) -> Faults:
    """The real handling; the edge of each fault is appended to `counted`."""
    edges = [] if counted is None else counted
    return Faults(clock=clock or FakeClock(), count=edges.append)
