"""What is due when: a heap in which a later word about the same key replaces an earlier one."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from scheduler.model.kinds.metadata import WorkKey

_SPARE_ENTRIES = 64


@dataclass(slots=True)
class TimerQueue:
    """Instants by workload; seconds by any clock that only grows."""

    _due_seconds: dict[WorkKey, float] = field(default_factory=dict)
    _heap: list[tuple[float, WorkKey]] = field(default_factory=list)

    def set(self, key: WorkKey, due_seconds: float) -> None:
        """It is due then, whatever was said of it before."""
        self._due_seconds[key] = due_seconds
        heapq.heappush(self._heap, (due_seconds, key))
        if len(self._heap) > 2 * len(self._due_seconds) + _SPARE_ENTRIES:
            self._heap = [(when, each) for each, when in self._due_seconds.items()]
            heapq.heapify(self._heap)

    def drop(self, key: WorkKey) -> None:
        """It is not due any more."""
        self._due_seconds.pop(key, None)

    def pop_due(self, now_seconds: float) -> Iterator[WorkKey]:
        """Takes out, one after the other, what is due by now."""
        while (soonest := self.next_due_seconds()) is not None and soonest <= now_seconds:
            key = heapq.heappop(self._heap)[1]
            del self._due_seconds[key]
            yield key

    def next_due_seconds(self) -> float | None:
        """When the next is due; None: nothing is."""
        while self._heap and self._due_seconds.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None
