"""Finds decisions that a scheduler recorded and was killed before it wrote their status.

They had no effect: an order goes out only after the status. The ledger says so before the next
decision about the workload, so that `explain`, replays and statistics do not count them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from scheduler.control.orders.sync import OrderSync
from scheduler.control.ports.ledger import DecisionRecorder
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload


@dataclass(slots=True, kw_only=True)
class UnmarkedDecisions:
    """The workloads that a former leader may have left with such a decision.

    Attributes:
        recorder: the ledger.
        order_sync: what sites report of orders.
    """

    recorder: DecisionRecorder
    order_sync: OrderSync
    _unchecked: set[WorkKey] = field(default_factory=set)

    def begin(self, keys: Iterable[WorkKey]) -> None:
        """Notes the workloads that exist when a term begins; each is looked at once."""
        self._unchecked.update(keys)

    def forget(self, key: WorkKey) -> None:
        """Forgets a workload that is gone."""
        self._unchecked.discard(key)

    def take(self, key: WorkKey, workload: Workload) -> tuple[str, ...]:
        """The ids of recorded decisions that are newer than the one in the status, oldest first.

        None where a site has an order that is newer than the status: then the hub was restored from
        a backup, and what is missing in the status did have an effect.

        Args:
            key: namespace and name.
            workload: identified.
        """
        if key not in self._unchecked:
            return ()
        self._unchecked.discard(key)
        if self.order_sync.has_newer_orders(workload):
            return ()
        shown = workload.status.decision
        return self.recorder.decisions_after(workload.metadata.key, shown.name if shown else "")
