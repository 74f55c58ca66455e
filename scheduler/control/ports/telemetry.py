"""What the loops tell the metrics; they know no metrics library.

`scheduler.web.metrics` implements it with prometheus-client, `NullTelemetry` ignores it.
"""

from typing import Protocol


class Telemetry(Protocol):
    """Counters and durations, by the words of docs/metrics.md."""

    def count_bad_message(self, kind: str) -> None:
        """A message from the broker was refused; `kind` is from a closed list."""
        ...

    def count_message(self, kind: str) -> None:
        """A message was taken in: report, status, offline."""
        ...

    def observe_attempt(self, result: str, seconds: float) -> None:
        """A decision was made: placed, waiting, refused, unchanged, not-accepted, error."""
        ...

    def observe_decision(self, seconds: float) -> None:
        """How long the decision alone took."""
        ...

    def observe_time_to_placed(self, seconds: float) -> None:
        """A spec was placed so long after it was first seen."""
        ...

    def observe_time_to_running(self, seconds: float) -> None:
        """A spec runs, or has run, so long after it was first seen."""
        ...

    def observe_batch(self, result: str, seconds: float) -> None:
        """A batch was taken: scarce (it found prices), plentiful (nothing is scarce), failed."""
        ...

    def set_scarcity(self, *, number: int, workloads: int, prices: int, ratio: float) -> None:
        """The prices that count from now on: of which batch, and how good it was; all 0: none."""
        ...

    def count_invalid_object(self, kind: str) -> None:
        """The hub holds an object of ours that does not decode."""
        ...

    def count_violation(self, reason: str, treatment: str) -> None:
        """What runs at a site breaks a right; `treatment` is Report, Move or Stop."""
        ...

    def count_order_published(self) -> None:
        """An order's content went out."""
        ...

    def count_index_published(self) -> None:
        """A site's index went out."""
        ...


class NullTelemetry:
    """Telemetry that nobody listens to."""

    def count_bad_message(self, kind: str) -> None:
        """Ignored."""

    def count_message(self, kind: str) -> None:
        """Ignored."""

    def observe_attempt(self, result: str, seconds: float) -> None:
        """Ignored."""

    def observe_decision(self, seconds: float) -> None:
        """Ignored."""

    def observe_time_to_placed(self, seconds: float) -> None:
        """Ignored."""

    def observe_time_to_running(self, seconds: float) -> None:
        """Ignored."""

    def observe_batch(self, result: str, seconds: float) -> None:
        """Ignored."""

    def set_scarcity(self, *, number: int, workloads: int, prices: int, ratio: float) -> None:
        """Ignored."""

    def count_invalid_object(self, kind: str) -> None:
        """Ignored."""

    def count_violation(self, reason: str, treatment: str) -> None:
        """Ignored."""

    def count_order_published(self) -> None:
        """Ignored."""

    def count_index_published(self) -> None:
        """Ignored."""
