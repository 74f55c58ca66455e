"""A whole batch in one call; the scheduler runs it in steps."""

from collections.abc import Sequence
from datetime import datetime

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.terms import DEFAULT_TERMS, Terms
from scheduler.placement.batch.place import BatchOutcome, place_batch_in_steps
from scheduler.placement.fleet.fleet import Fleet


def place_batch(
    demands: Sequence[Demand], fleet: Fleet, *, now: datetime, terms: Terms = DEFAULT_TERMS
) -> BatchOutcome:
    """Decides many workloads together; the fleet is not changed.

    Args:
        demands: the demands; running replicas stay where they are.
        fleet: the sites.
        now: the time of the decisions.
        terms: limits and prices; scarcity prices of an earlier batch are replaced.
    """
    steps = place_batch_in_steps(demands, Fleet(fleet.all_facts()), now=now, terms=terms)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            outcome: BatchOutcome = done.value
            return outcome
