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
        touched: namespaces whose sums changed since this was last looked at.
        totals: by namespace; sums of whole numbers, so that taking back leaves nothing behind.
    """

    was_freed: bool = False
    touched: set[str] = field(default_factory=set)
    totals: dict[str, Counter[str]] = field(default_factory=dict)
    _taken: dict[WorkKey, Mapping[str, int]] = field(default_factory=dict)

    def take(self, key: WorkKey, demand: Demand, replicas: int) -> None:
        """A workload holds so many replicas now, all sites together."""
        fresh = {name: amount * replicas for name, amount in demand.requests.items()}
        before = self._taken.get(key, {})
        if fresh == before:
            return
        self.was_freed |= any(amount > fresh.get(name, 0) for name, amount in before.items())
        self._move(key[0], before, fresh)
        self._taken[key] = fresh

    def give_back(self, key: WorkKey) -> None:
        """The workload is gone."""
        before = self._taken.pop(key, {})
        self.was_freed |= bool(before)
        self._move(key[0], before, {})

    def used(self, namespaces: Collection[str], *, besides: WorkKey) -> dict[str, int]:
        """What all other workloads of these namespaces take."""
        total: Counter[str] = Counter()
        for namespace in namespaces:
            total.update(self.totals.get(namespace, {}))
        if besides[0] in namespaces:
            total.subtract(self._taken.get(besides, {}))
        return dict(total)

    def _move(self, namespace: str, before: Mapping[str, int], after: Mapping[str, int]) -> None:
        total = self.totals.setdefault(namespace, Counter())
        total.subtract(before)
        total.update(after)
        self.touched.add(namespace)
        if not any(total.values()):
            del self.totals[namespace]
