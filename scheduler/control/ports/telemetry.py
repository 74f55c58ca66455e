"""The port to the metrics; the loops know no metrics library.

`scheduler.web.metrics` implements it with prometheus-client.
"""

from typing import Protocol


class Telemetry(Protocol):
    """Counters and durations; docs/metrics.md lists the metrics."""

    def count_bad_message(self, kind: str) -> None:
        """Counts a refused message from the broker; `kind` is from a closed list."""
        ...

    def count_epoch_claim(self, result: str) -> None:
        """Counts a site's claim of a later index than ours; `result` is from a closed list."""
        ...

    def count_dropped_messages(self, reason: str, count: int) -> None:
        """Counts messages that were dropped unread; `reason` is from a closed list."""
        ...

    def count_message(self, kind: str) -> None:
        """Counts an accepted message by kind: report, status, offline, answer."""
        ...

    def count_health_change(self, health: str) -> None:
        """Counts a change of a site's health, by the state that it has from now on."""
        ...

    def count_freeze(self, reason: str) -> None:
        """Counts a freeze of evictions; `reason` is a `FreezeReason`."""
        ...

    def count_fault(self, where: str) -> None:
        """Counts a fault that an edge caught; `where` is from a closed list."""
        ...

    def observe_attempt(self, result: str, seconds: float) -> None:
        """Observes a reconciliation; `result` as in `ReconcileResult`, or "error"."""
        ...

    def observe_decision(self, seconds: float) -> None:
        """Observes how long a decision alone took."""
        ...

    def observe_time_to_placed(self, seconds: float) -> None:
        """Observes the time from the first sight of a spec to its placement."""
        ...

    def observe_time_to_running(self, seconds: float) -> None:
        """Observes the time from the first sight of a spec until it runs or has run."""
        ...

    def observe_batch(self, result: str, seconds: float) -> None:
        """Observes a batch: scarce (it found prices), plentiful (nothing is scarce), failed."""
        ...

    def set_scarcity(self, *, number: int, workloads: int, prices: int, ratio: float) -> None:
        """Sets the prices in force: number and size of the batch, and its quality; all 0: none."""
        ...

    def count_late_status(self) -> None:
        """Counts a status that a former leader wrote after this one had begun."""
        ...

    def count_standard_write(self, kind: str, result: str) -> None:
        """Counts a write of a ClusterProfile or PlacementDecision: written, deleted, refused."""
        ...

    def count_invalid_object(self, kind: str) -> None:
        """Counts an object in the hub that does not decode."""
        ...

    def count_violation(self, reason: str, treatment: str) -> None:
        """Counts a violation at a site; `treatment` is Report, Move or Stop."""
        ...

    def count_order_published(self) -> None:
        """Counts a published order content."""
        ...

    def count_index_published(self) -> None:
        """Counts a published index."""
        ...

    def count_eviction(self, reason: str) -> None:
        """Counts a replacement of one workload's replicas at one site, by its reason."""
        ...

    def observe_survival(
        self, seconds: float, *, survived: int, not_survived: int, unknown: int
    ) -> None:
        """Observes a judgement of all sites: for how many what is known of their loss."""
        ...

    def set_domain_losses(self, of: str, *, survived: int, not_survived: int, unknown: int) -> None:
        """Sets what is known of the loss of whole provinces, cities or providers with work.

        Args:
            of: "province", "city" or "provider".
            survived: how many of them can be lost.
            not_survived: how many cannot, as is proved.
            unknown: of how many neither is known.
        """
        ...

    def set_waiting_evictions(self, count: int) -> None:
        """Sets how many replacements are due and not ordered yet."""
        ...
