"""Work that no site can take now, by what stood in its way.

Many workloads wait for few kinds of reasons, so that an event is compared with the reasons and not
with each workload.
"""

import itertools
from dataclasses import dataclass, field

from scheduler.placement.queueing import WorkKey, could_help
from scheduler.placement.rules import Event

Reasons = frozenset[str]


@dataclass(slots=True)
class Parked:
    """Workloads by the slugs that stood in their way."""

    _reasons: dict[WorkKey, Reasons] = field(default_factory=dict)
    _groups: dict[Reasons, dict[WorkKey, None]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._reasons)

    def __contains__(self, key: WorkKey) -> bool:
        return key in self._reasons

    def put(self, key: WorkKey, reasons: Reasons) -> None:
        """It waits for one of these to change."""
        self.drop(key)
        self._reasons[key] = reasons
        self._groups.setdefault(reasons, {})[key] = None

    def drop(self, key: WorkKey) -> None:
        """It does not wait any more."""
        reasons = self._reasons.pop(key, None)
        if reasons is not None:
            group = self._groups[reasons]
            del group[key]
            if not group:
                del self._groups[reasons]

    def pop(self, events: frozenset[Event], most: int) -> list[WorkKey]:
        """Takes out whom these events could help, so many at most, first those that came first."""
        woken: list[WorkKey] = []
        for reasons in [each for each in self._groups if could_help(events, each)]:
            woken += itertools.islice(self._groups[reasons], most - len(woken))
        for key in woken:
            self.drop(key)
        return woken

    def reasons(self) -> list[Reasons]:
        """The reasons of each."""
        return list(self._reasons.values())

    def waiting_for(self, slugs: frozenset[str]) -> list[WorkKey]:
        """Whom at least one of these stands in the way of."""
        return [key for each, group in self._groups.items() if each & slugs for key in group]

    def count(self, slugs: frozenset[str]) -> int:
        """How many `waiting_for` gives."""
        return sum(len(group) for each, group in self._groups.items() if each & slugs)
