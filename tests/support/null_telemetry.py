"""Telemetry that keeps nothing."""


class NullTelemetry:
    """Implements `scheduler.control.ports.telemetry.Telemetry`."""

    def count_bad_message(self, kind: str) -> None:
        """Ignored."""

    def count_epoch_claim(self, result: str) -> None:
        """Ignored."""

    def count_dropped_messages(self, reason: str, count: int) -> None:
        """Ignored."""

    def count_health_change(self, health: str) -> None:
        """Ignored."""

    def count_message(self, kind: str) -> None:
        """Ignored."""

    def count_freeze(self, reason: str) -> None:
        """Ignored."""

    def count_fault(self, where: str) -> None:
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

    def count_standard_write(self, kind: str, result: str) -> None:
        """Ignored."""

    def count_late_status(self) -> None:
        """Ignored."""

    def count_invalid_object(self, kind: str) -> None:
        """Ignored."""

    def count_violation(self, reason: str, treatment: str) -> None:
        """Ignored."""

    def count_order_published(self) -> None:
        """Ignored."""

    def count_index_published(self) -> None:
        """Ignored."""

    def count_eviction(self, reason: str) -> None:
        """Ignored."""

    def observe_survival(
        self, seconds: float, *, survived: int, not_survived: int, unknown: int
    ) -> None:
        """Ignored."""

    def set_domain_losses(self, of: str, *, survived: int, not_survived: int, unknown: int) -> None:
        """Ignored."""

    def set_waiting_evictions(self, count: int) -> None:
        """Ignored."""
