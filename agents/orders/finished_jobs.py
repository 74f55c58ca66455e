"""Records finished jobs while the member still has them, so that none runs again."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from agents.member.api import MemberApiError
from agents.orders.applier import ApplyResult
from agents.orders.inventory import MemberInventory, ObservedObject
from agents.orders.journal import Journal
from agents.orders.readiness import Readiness
from agents.orders.run_once import UNKNOWN_OUTCOME, JobRecords
from agents.protocol.status import JobOutcome

_log = logging.getLogger(__name__)

_UNKNOWN_TEXT: Final = (
    "was started and is gone, and whether it ran to its end is not known; it is not run again: "
    "to run it, give it another name"
)


@dataclass(frozen=True, slots=True)
class FinishedJobs:
    """Keeps the outcome of every job of the desired orders, on disk and in the member.

    Attributes:
        journal: the record on disk.
        job_records: the record in the member.
        is_desired: whether a token belongs to an order that the index lists.
    """

    journal: Journal
    job_records: JobRecords
    is_desired: Callable[[str], bool]

    def record(self, inventory: MemberInventory) -> None:
        """Records every job that has finished, because the member may delete it soon.

        Raises:
            Unreachable: the member does not answer.
            JournalError: the journal cannot be written.
        """
        for observed in inventory.objects.values():
            finished = observed.readiness.finished
            if finished is None or observed.order_id is None:
                continue
            name = (observed.key.kind, observed.key.namespace, observed.key.name)
            if name not in self.journal.finished_jobs_of(observed.order_id) and self.is_desired(
                observed.token
            ):
                self._record_in_member(observed, observed.order_id, finished)
                self.journal.record_finished(observed.order_id, observed.key, finished)

    def _record_in_member(
        self, observed: ObservedObject, order_id: str, finished: JobOutcome
    ) -> None:
        try:
            self.job_records.record_finish(order_id, observed.key, finished)
        except MemberApiError as error:
            if error.code == 0:
                raise
            _log.warning(
                "%s has finished; recording that in the cluster failed: %s", observed.key, error
            )

    def add_to(self, result: ApplyResult, order_id: str) -> None:
        """Adds the readiness of jobs that finished before; the member may no longer have them."""
        outcomes = self.journal.finished_jobs_of(order_id)
        for name in result.finished_jobs:
            outcome = outcomes.get((name[1], name[2], name[3]), UNKNOWN_OUTCOME)
            finish: JobOutcome | None = None
            if outcome != UNKNOWN_OUTCOME:
                finish = "Failed" if outcome == "Failed" else "Succeeded"
            result.readiness_by_object[name] = Readiness(
                is_ready=False,
                desired=0 if finish else None,
                finished=finish,
                message=None if finish else f"{name[1]} {name[3]} {_UNKNOWN_TEXT}",
            )
