"""The port to the ledger: the fleet as it is now, and the record of each decision."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import Terms
from scheduler.model.kinds.workload import WorkloadSpec


@dataclass(frozen=True, slots=True)
class RecordReference:
    """Proof that a decision is durable."""

    id: str
    hash: str


@dataclass(frozen=True, slots=True)
class AcceptedSpec:
    """What the newest decision about a workload was made on.

    Attributes:
        spec: what was asked.
        demand: what that meant then.
    """

    spec: WorkloadSpec
    demand: Demand


class DecisionRecorder(Protocol):
    """Keeps what decisions stood on, and the decisions."""

    def update_facts(self, site: str, facts: SiteFacts | None) -> None:
        """The newest facts of a site; None: the site is gone."""
        ...

    async def record(
        self,
        *,
        subject: str,
        epoch: int,
        at: datetime,
        content: dict[str, Any],
        spec: WorkloadSpec,
    ) -> RecordReference:
        """Appends a decision with the fleet as it is at the call; returns when it is durable.

        Args:
            subject: "namespace/name" of the workload.
            epoch: of the deciding leader.
            at: when it was decided.
            content: demand, terms and decision as values of the model.
            spec: what was asked, manifests and all; equal ones are kept once.
        """
        ...

    async def record_batch(
        self, *, epoch: int, at: datetime, terms: Terms, content: dict[str, Any]
    ) -> RecordReference:
        """Appends what a batch came to; returns when it is durable.

        Args:
            epoch: of the deciding leader.
            at: when the batch was taken.
            terms: with the scarcity prices that it found.
            content: how it was solved, and how well.
        """
        ...

    def last_accepted(self, subject: str) -> AcceptedSpec | None:
        """What the newest decision about a workload was made on; None when there is none.

        Raises:
            ValueError: the record cannot be read.
        """
        ...
