"""The port to the ledger: the present fleet, and a record of each decision.

`scheduler.ledger.recorder` implements it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import Terms
from scheduler.model.kinds.workload import WorkloadSpec


class NotRecorded(Exception):
    """The ledger cannot be written now, so the decision does not count; make it again later."""


@dataclass(frozen=True, slots=True)
class RecordReference:
    """Id and hash of a record; having one means that the record is durable."""

    id: str
    hash: str


@dataclass(frozen=True, slots=True)
class AcceptedSpec:
    """The input of the newest decision about a workload.

    Attributes:
        spec: the spec at that time.
        demand: the demand that it was resolved to.
    """

    spec: WorkloadSpec
    demand: Demand


class DecisionRecorder(Protocol):
    """Records decisions together with their inputs."""

    def update_facts(self, site: str, facts: SiteFacts | None) -> None:
        """Sets the newest facts of a site; None: the site is gone."""
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
        """Appends a decision with the fleet at the time of the call; returns when it is durable.

        Args:
            subject: "namespace/name" of the workload.
            epoch: the epoch of the leader that decided.
            at: when it was decided.
            content: demand, terms and decision, or the refusal, as values of the model.
            spec: the spec with its manifests; equal ones are stored once.

        Raises:
            NotRecorded: nothing was recorded.
        """
        ...

    async def record_batch(
        self, *, epoch: int, at: datetime, terms: Terms, content: dict[str, Any]
    ) -> RecordReference:
        """Appends the result of a batch; returns when it is durable.

        Args:
            epoch: the epoch of the leader that decided.
            at: when the batch was solved.
            terms: with the scarcity prices that it found.
            content: how it was solved, and how well.

        Raises:
            NotRecorded: nothing was recorded.
        """
        ...

    def last_accepted(self, subject: str) -> AcceptedSpec | None:
        """The input of the newest decision about a workload; None when there is none.

        Raises:
            ValueError: the record cannot be read.
        """
        ...
