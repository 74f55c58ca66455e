"""What each placed workload takes of its tenant's quota."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from scheduler.control.queue import WorkKey
from scheduler.model.demand import Demand


@dataclass(slots=True)
class Quotas:
    """Sums of requests: millicores for cpu, whole units for all else.

    Attributes:
        was_freed: something was given back since this was last looked at.
    """

    was_freed: bool = False
    _taken: dict[WorkKey, Mapping[str, int]] = field(default_factory=dict)

    def take(self, key: WorkKey, demand: Demand, replicas: int) -> None:
        """A workload holds so many replicas now, all sites together."""
        fresh = {name: amount * replicas for name, amount in demand.requests.items()}
        before = self._taken.get(key, {})
        self.was_freed |= any(amount > fresh.get(name, 0) for name, amount in before.items())
        self._taken[key] = fresh

    def give_back(self, key: WorkKey) -> None:
        """The workload is gone."""
        self.was_freed |= bool(self._taken.pop(key, None))

    def used(self, namespaces: Collection[str], *, besides: WorkKey) -> dict[str, int]:
        """What all other workloads of these namespaces take."""
        total: Counter[str] = Counter()
        for key, amounts in self._taken.items():
            if key != besides and key[0] in namespaces:
                total.update(amounts)
        return dict(total)
