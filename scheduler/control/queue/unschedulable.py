"""Workloads that no site can take now, grouped by the reasons.

Many workloads wait for few combinations of reasons, so an event is compared with the combinations
and not with each workload. Capacity does not wake workloads that the `CapacityWatcher` holds: it
finds the ones that fit.
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
    """Workloads by their reasons, and by whether the `CapacityWatcher` holds them."""

    _group_of: dict[WorkKey, tuple[Reasons, bool]] = field(default_factory=dict)
    _groups: dict[tuple[Reasons, bool], dict[WorkKey, None]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._group_of)

    def put(self, key: WorkKey, reasons: Reasons, *, is_watched: bool = False) -> None:
        """Adds a workload that waits for one of these reasons to change."""
        self.drop(key)
        group = self._group_of[key] = (reasons, is_watched)
        self._groups.setdefault(group, {})[key] = None

    def drop(self, key: WorkKey) -> None:
        """Removes a workload that does not wait any more."""
        place = self._group_of.pop(key, None)
        if place is not None:
            group = self._groups[place]
            del group[key]
            if not group:
                del self._groups[place]

    def pop_helped(
        self, events: frozenset[WakeEvent], max_count: int, *, are_sites_known: bool
    ) -> list[WorkKey]:
        """Removes and returns the workloads that these events could help, oldest entry first.

        Args:
            events: what happened.
            max_count: return at most this many.
            are_sites_known: the sites with more capacity are known, so that the `CapacityWatcher`
                handles the workloads that it holds.
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
        """The reasons of each workload."""
        return [reasons for reasons, _ in self._group_of.values()]

    def keys_with_reason(self, slugs: frozenset[str]) -> list[WorkKey]:
        """The workloads with at least one of these reasons."""
        return [key for (each, _), group in self._groups.items() if each & slugs for key in group]

    def count(self, slugs: frozenset[str]) -> int:
        """How many workloads `keys_with_reason` returns."""
        return sum(len(group) for (each, _), group in self._groups.items() if each & slugs)
