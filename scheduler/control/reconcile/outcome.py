"""The outcome of one reconciliation. Pure."""

from dataclasses import dataclass

from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand
from scheduler.placement.queue.minimum_requests import MinimumRequest, minimum_request_of
from scheduler.placement.queue.order import could_wake


@dataclass(frozen=True, slots=True)
class ReconcileResult:
    """The outcome of one reconciliation.

    Attributes:
        result: placed, waiting, refused, unchanged, not-accepted, deleted, withdrawing.
        unschedulable_reasons: slugs of the reasons that keep the workload from being placed; empty
            when it waits for nothing.
        retry_after_seconds: after this time the decision may change by itself; None: never.
        minimum_request: what a site must have free to matter to it; None: any site may.
    """

    result: str
    unschedulable_reasons: frozenset[str] = frozenset()
    retry_after_seconds: float | None = None
    minimum_request: MinimumRequest | None = None


def outcome_of(decision: Decision, demand: Demand) -> ReconcileResult:
    """The outcome of a decision; what is not placed waits for its reasons or its start time."""
    if decision.phase == "Placed":
        return ReconcileResult("placed")
    start, now = decision.start_at or demand.schedule.earliest, decision.decided_at
    pause = (start - now).total_seconds() if start and start > now else None
    reasons = frozenset[str](decision.reasons)
    need = minimum_request_of(demand) if could_wake(frozenset({"capacity"}), reasons) else None
    return ReconcileResult(decision.phase.lower(), reasons, pause, need)
