"""What the process of a batch reads and writes: one JSON value a line.

It reads a `BatchPlan`, then `plan.sites` lines of `SiteFacts`, then `plan.workloads` lines of
`Demand`, and writes one `BatchSolved` or `BatchFailed`.
"""

from datetime import datetime

import msgspec

from scheduler.model.demand.terms import Terms
from scheduler.placement.batch.place import BatchOutcome


class BatchPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How a batch is to be solved.

    Attributes:
        now: the time of the batch.
        terms: limits and prices.
        sites: how many lines with facts follow.
        workloads: how many lines with demands follow these.
        budget_seconds: the process ends itself after this time.
        memory_mebibytes: the most memory that it may have.
    """

    now: datetime
    terms: Terms
    sites: int
    workloads: int
    budget_seconds: float
    memory_mebibytes: int


class BatchSolved(msgspec.Struct, frozen=True, kw_only=True, tag="solved"):
    """The batch is solved.

    Attributes:
        outcome: the outcome, without the decisions.
    """

    outcome: BatchOutcome


class BatchFailed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """The batch could not be solved.

    Attributes:
        text: why.
    """

    text: str


DECODE_ANSWER = msgspec.json.Decoder(BatchSolved | BatchFailed).decode
