"""What a look at a workload came to. Pure."""

from dataclasses import dataclass

from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand
from scheduler.placement.queue.minimum_requests import Need, need_of
from scheduler.placement.queue.order import could_help


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a look at a workload came to.

    Attributes:
        result: placed, waiting, refused, unchanged, not-accepted, deleted, withdrawing.
        parked_for: reasons that keep it from being placed; empty when nothing is to be waited for.
        again_in_seconds: when the passing of time alone will change the answer.
        need: what a site must have to matter to it; None: any could.
    """

    result: str
    parked_for: frozenset[str] = frozenset()
    again_in_seconds: float | None = None
    need: Need | None = None


def outcome_of(decision: Decision, demand: Demand) -> Outcome:
    """The outcome of a decision: what is not placed waits for its reasons, or for its time."""
    if decision.phase == "Placed":
        return Outcome("placed")
    start, now = decision.start_at or demand.schedule.earliest, decision.decided_at
    pause = (start - now).total_seconds() if start and start > now else None
    reasons = frozenset[str](decision.reasons)
    need = need_of(demand) if could_help(frozenset({"capacity"}), reasons) else None
    return Outcome(decision.phase.lower(), reasons, pause, need)
