"""A whole batch in one call, in this process; the scheduler has one of its own for it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from scheduler.control.ports.batch_solver import BatchInputs, BatchNotSolved
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


class DirectSolver:
    """Implements `scheduler.control.ports.batch_solver.BatchSolver` without a process.

    Attributes:
        solved: the inputs of each batch.
        problem: why no batch is solved; empty: they are.
    """

    def __init__(self) -> None:
        self.solved: list[BatchInputs] = []
        self.problem = ""

    async def solve(self, inputs: BatchInputs) -> BatchOutcome:
        """Solves one batch."""
        self.solved.append(inputs)
        if self.problem:
            raise BatchNotSolved(self.problem)
        fleet = Fleet(inputs.facts)
        outcome = place_batch(inputs.demands, fleet, now=inputs.now, terms=inputs.terms)
        return replace(outcome, decisions=())
