"""The port to what solves a batch of waiting workloads; `scheduler.batch_process` implements it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import Terms
from scheduler.placement.batch.place import BatchOutcome


class BatchNotSolved(Exception):
    """There is no outcome: the time or the memory was not enough, or the search failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchInputs:
    """What a batch is solved from; all of it is immutable.

    Attributes:
        facts: of all sites.
        demands: of the workloads of the batch.
        now: the time of the batch.
        terms: the terms of the batch.
    """

    facts: Sequence[SiteFacts]
    demands: Sequence[Demand]
    now: datetime
    terms: Terms


class BatchSolver(Protocol):
    """Solves batches, beside the event loop."""

    async def solve(self, inputs: BatchInputs) -> BatchOutcome:
        """Solves one batch; the outcome holds no decisions.

        Raises:
            BatchNotSolved: there is no outcome; decisions go on without it.
        """
        ...
