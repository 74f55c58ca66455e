"""Due times by workload: a heap with lazy deletion, as the documentation of `heapq` shows it."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from scheduler.model.kinds.metadata import WorkKey

_SPARE_ENTRIES = 64


@dataclass(slots=True)
class TimerQueue:
    """One due time per workload, in seconds of any clock that never goes back."""

    _due_seconds: dict[WorkKey, float] = field(default_factory=dict)
    _heap: list[tuple[float, WorkKey]] = field(default_factory=list)

    def set(self, key: WorkKey, due_seconds: float) -> None:
        """Sets the due time of a workload; replaces an earlier one."""
        self._due_seconds[key] = due_seconds
        heapq.heappush(self._heap, (due_seconds, key))
        # Replaced entries stay in the heap until they come up; rebuild it when most are such.
        if len(self._heap) > 2 * len(self._due_seconds) + _SPARE_ENTRIES:
            self._heap = [(when, each) for each, when in self._due_seconds.items()]
            heapq.heapify(self._heap)

    def drop(self, key: WorkKey) -> None:
        """Removes the due time of a workload."""
        self._due_seconds.pop(key, None)

    def pop_due(self, now_seconds: float) -> Iterator[WorkKey]:
        """Removes and yields the workloads that are due by now, the earliest first."""
        while (soonest := self.next_due_seconds()) is not None and soonest <= now_seconds:
            key = heapq.heappop(self._heap)[1]
            del self._due_seconds[key]
            yield key

    def next_due_seconds(self) -> float | None:
        """The earliest due time; None when there is none."""
        while self._heap and self._due_seconds.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None
