"""What the loops tell the metrics; they know no metrics library.

`scheduler.web.metrics` implements it with prometheus-client, `Silence` ignores it.
"""

from typing import Protocol


class Telemetry(Protocol):
    """Counters and durations, by the words of docs/metrics.md."""

    def bad_message(self, kind: str) -> None:
        """A message from the broker was refused; `kind` is from a closed list."""
        ...

    def message(self, kind: str) -> None:
        """A message was taken in: report, status, offline."""
        ...

    def attempt(self, result: str, seconds: float) -> None:
        """A decision was made: placed, waiting, refused, unchanged, not-accepted, error."""
        ...

    def decided(self, seconds: float) -> None:
        """How long the decision alone took."""
        ...

    def placed_after(self, seconds: float) -> None:
        """A spec was placed so long after it was first seen."""
        ...

    def ran_after(self, seconds: float) -> None:
        """A spec runs, or has run, so long after it was first seen."""
        ...

    def batch(self, result: str, seconds: float) -> None:
        """A batch was taken: scarce (it found prices), plentiful (nothing is scarce), failed."""
        ...

    def scarcity(self, *, number: int, workloads: int, prices: int, ratio: float) -> None:
        """The prices that count from now on: of which batch, and how good it was; all 0: none."""
        ...

    def invalid_object(self, kind: str) -> None:
        """The hub holds an object of ours that does not decode."""
        ...

    def violation(self, reason: str, treatment: str) -> None:
        """What runs at a site breaks a right; `treatment` is Report, Move or Stop."""
        ...

    def order_published(self) -> None:
        """An order's content went out."""
        ...

    def index_published(self) -> None:
        """A site's index went out."""
        ...


class Silence:
    """Telemetry that nobody listens to."""

    def bad_message(self, kind: str) -> None:
        """Ignored."""

    def message(self, kind: str) -> None:
        """Ignored."""

    def attempt(self, result: str, seconds: float) -> None:
        """Ignored."""

    def decided(self, seconds: float) -> None:
        """Ignored."""

    def placed_after(self, seconds: float) -> None:
        """Ignored."""

    def ran_after(self, seconds: float) -> None:
        """Ignored."""

    def batch(self, result: str, seconds: float) -> None:
        """Ignored."""

    def scarcity(self, *, number: int, workloads: int, prices: int, ratio: float) -> None:
        """Ignored."""

    def invalid_object(self, kind: str) -> None:
        """Ignored."""

    def violation(self, reason: str, treatment: str) -> None:
        """Ignored."""

    def order_published(self) -> None:
        """Ignored."""

    def index_published(self) -> None:
        """Ignored."""
