"""Solves a large backlog as one batch, whose prices and assignment the single decisions follow.

As in the running scheduler: what finds no room by single decisions waits, and a large backlog is
solved together (`placement/batch`). Workloads for which no site has
room for a single replica are left out: no order of the others would help them.
"""

from collections.abc import Sequence

from scheduler.model.demand.assignment import BatchAssignment
from scheduler.placement.batch.place import BatchOutcome, BatchSteps, place_batch_in_steps
from scheduler.placement.choose import prepare_cycle
from scheduler.placement.fleet.fleet import Fleet
from scheduler.whatif.demands import Progress, no_progress
from scheduler.whatif.settling.settle import decide_task
from scheduler.whatif.settling.settled_fleet import SettledFleet

CAPACITY_REASONS = frozenset({"full", "fragmented", "spread"})
"""Reasons that pass when there is more room."""
BATCH_AT_WORKLOADS = 100
"""As the setting `batch.at_workloads`."""
MAX_BATCH_PAIRS = 300_000
"""So many pairs of workload and site take some seconds; the most urgent workloads are taken."""


def settle_backlog(settled: SettledFleet, progress: Progress = no_progress) -> None:
    """Decides what waits for capacity again, by the prices of a batch, if it is much.

    Args:
        settled: the fleet after single decisions; it takes the new ones over.
        progress: shows how far it is.
    """
    waiting = [key for key in waiting_for_capacity(settled) if _has_room_for_one(settled, key)]
    waiting = waiting[: MAX_BATCH_PAIRS // max(1, len(settled.fleet))]
    if len(waiting) < BATCH_AT_WORKLOADS:
        return
    progress("solved", 0, 1)
    outcome = solve_waiting(settled, waiting)
    assigned = {
        one.workload: BatchAssignment(version=outcome.assignment_version, sites=one.sites)
        for one in outcome.assigned
    }
    for place, key in enumerate(outcome.order):
        progress("decided", place, len(outcome.order))
        decide_task(settled, settled.tasks[key], outcome.terms, assigned.get(key))


def waiting_for_capacity(settled: SettledFleet) -> list[str]:
    """Workloads that some site admits and that find no room, in the order of their decisions."""
    return [
        key
        for key, decision in settled.decisions.items()
        if decision.phase == "Waiting" and decision.reasons.keys() & CAPACITY_REASONS
    ]


def _has_room_for_one(settled: SettledFleet, key: str) -> bool:
    state = prepare_cycle(settled.decided_demands[key], settled.fleet, settled.context)
    return bool(state.capacity.replicas_at(state.filter_result.admitted_slots).any())


def solve_waiting(settled: SettledFleet, keys: Sequence[str]) -> BatchOutcome:
    """The batch of these workloads on a copy of the fleet."""
    steps: BatchSteps = place_batch_in_steps(
        [settled.decided_demands[key] for key in keys],
        Fleet(settled.fleet.all_facts()),
        now=settled.copy.objects.now,
        terms=settled.copy.objects.terms,
    )
    while True:
        try:
            next(steps)
        except StopIteration as done:
            outcome: BatchOutcome = done.value
            return outcome
