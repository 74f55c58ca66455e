"""Work that no site can take now, by what stood in its way.

Many workloads wait for few kinds of reasons, so that an event is compared with the reasons and not
with each workload. Those that the lookout watches are not woken by capacity: it knows whom.
"""

import itertools
from dataclasses import dataclass, field

from scheduler.model.kinds.metadata import WorkKey
from scheduler.placement.filter.rules import WakeEvent
from scheduler.placement.queue.order import could_wake

Reasons = frozenset[str]

_CAPACITY: frozenset[WakeEvent] = frozenset({"capacity"})


@dataclass(slots=True)
class Unschedulable:
    """Workloads by the slugs that stood in their way, and whether they are watched."""

    _group_of: dict[WorkKey, tuple[Reasons, bool]] = field(default_factory=dict)
    _groups: dict[tuple[Reasons, bool], dict[WorkKey, None]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._group_of)

    def __contains__(self, key: WorkKey) -> bool:
        return key in self._group_of

    def put(self, key: WorkKey, reasons: Reasons, *, is_watched: bool = False) -> None:
        """It waits for one of these to change."""
        self.drop(key)
        place = self._group_of[key] = (reasons, is_watched)
        self._groups.setdefault(place, {})[key] = None

    def drop(self, key: WorkKey) -> None:
        """It does not wait any more."""
        place = self._group_of.pop(key, None)
        if place is not None:
            group = self._groups[place]
            del group[key]
            if not group:
                del self._groups[place]

    def pop_helped(
        self, events: frozenset[WakeEvent], max_count: int, *, are_sites_known: bool
    ) -> list[WorkKey]:
        """Takes out whom these events could help, first those that came first.

        Args:
            events: what happened.
            max_count: so many at most.
            are_sites_known: what has more capacity is named, so the lookout says whom it could
            help.
        """
        others = events - _CAPACITY if are_sites_known else events
        woken: list[WorkKey] = []
        for place in list(self._groups):
            reasons, is_watched = place
            if could_wake(others if is_watched else events, reasons):
                woken += itertools.islice(self._groups[place], max_count - len(woken))
        for key in woken:
            self.drop(key)
        return woken

    def reasons(self) -> list[Reasons]:
        """The reasons of each."""
        return [reasons for reasons, _ in self._group_of.values()]

    def keys_with_reason(self, slugs: frozenset[str]) -> list[WorkKey]:
        """Whom at least one of these stands in the way of."""
        return [key for (each, _), group in self._groups.items() if each & slugs for key in group]

    def count(self, slugs: frozenset[str]) -> int:
        """How many `keys_with_reason` gives."""
        return sum(len(group) for (each, _), group in self._groups.items() if each & slugs)
