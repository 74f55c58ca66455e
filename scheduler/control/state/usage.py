"""What placed replicas request, summed by site: only what Kapok itself has placed.

Sums of integers, so that subtracting what was added leaves exactly zero.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from scheduler.model.demand.demand import Demand
from scheduler.model.kinds.metadata import WorkKey

Amounts = Mapping[str, int]
"""Amount by resource: millicores for cpu, whole units for everything else."""


@dataclass(slots=True)
class SiteUsage:
    """Requests of placed replicas.

    Attributes:
        totals: amounts by resource, by site.
        by_workload: amounts by resource of each workload, by site.
    """

    totals: dict[str, Counter[str]] = field(default_factory=dict)
    by_workload: dict[str, dict[WorkKey, Amounts]] = field(default_factory=dict)
    _usage_of: dict[WorkKey, dict[str, Amounts]] = field(default_factory=dict)

    def set(self, key: WorkKey, demand: Demand, replicas: Mapping[str, int]) -> None:
        """Sets all replicas of a workload by site; none at any site forgets the workload."""
        parts = {site: _requests_of(demand, count) for site, count in replicas.items() if count}
        if parts == self._usage_of.get(key, {}):
            return
        self.forget(key)
        if parts:
            self._usage_of[key] = parts
        for site, amounts in parts.items():
            self.totals.setdefault(site, Counter()).update(amounts)
            self.by_workload.setdefault(site, {})[key] = amounts

    def requested_by_workload(self) -> dict[WorkKey, Mapping[str, Amounts]]:
        """What each workload requests by site, for another thread."""
        return dict(self._usage_of)  # the parts of a workload are replaced, never changed

    def forget(self, key: WorkKey) -> None:
        """Forgets a workload that is gone."""
        for site, amounts in self._usage_of.pop(key, {}).items():
            left = self.totals[site]
            left.subtract(amounts)
            if not any(left.values()):
                del self.totals[site]
            del self.by_workload[site][key]
            if not self.by_workload[site]:
                del self.by_workload[site]


def _requests_of(demand: Demand, replicas: int) -> Amounts:
    """What replicas and the pods beside them request at one site."""
    total: Counter[str] = Counter()
    for pods, times in ((demand.unit, replicas), (demand.beside, 1)):
        for each in pods:
            for name, amount in each.shape.requests.items():
                total[name] += amount * each.count * times
    return dict(total)
