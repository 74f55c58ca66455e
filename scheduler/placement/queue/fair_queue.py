"""All work that waits for its turn, so that the next is found without looking at everyone.

Shares change while work waits, and so does what waiting lifts, so one heap over all would be wrong
the moment after. What never changes is the order within a tenant: one heap for each priority,
window of joining and tenant. All that joined in one window is lifted together, so the groups are
put in order once per window; the shares are looked at when somebody is taken.
"""

import heapq
import itertools
from collections.abc import Iterator, KeysView
from dataclasses import dataclass, field

from scheduler.model.kinds.metadata import WorkKey
from scheduler.placement.queue.order import (
    QueuedWork,
    TenantShare,
    TenantSortKey,
    aged_priority,
    aging_window_of,
    sort_key_within_tenant,
)

_MAX_STALE_ENTRIES = 64

_Heap = list[tuple[TenantSortKey, int, QueuedWork]]
"""Turn, a number that breaks ties between entries of one workload, and the work."""


@dataclass(slots=True)
class _Group:
    """The work of one priority that joined in one window."""

    priority: int
    window: int
    tenants: dict[str, _Heap] = field(default_factory=dict)


class FairQueue:
    """Work in the order of `queueing.turn_of`."""

    def __init__(self) -> None:
        self._work_by_key: dict[WorkKey, QueuedWork] = {}
        self._groups: dict[tuple[int, int], _Group] = {}
        self._groups_by_priority: dict[int, list[_Group]] = {}
        self._priority_heap: list[int] = []
        self._window = 0
        self._entry_count = 0
        self._sequence = itertools.count()

    def __len__(self) -> int:
        return len(self._work_by_key)

    def __contains__(self, key: WorkKey) -> bool:
        return key in self._work_by_key

    def __iter__(self) -> Iterator[QueuedWork]:
        return iter(self._work_by_key.values())

    def keys(self) -> KeysView[WorkKey]:
        """Whose work waits."""
        return self._work_by_key.keys()

    def get(self, key: WorkKey) -> QueuedWork | None:
        """The work with this key, if it waits."""
        return self._work_by_key.get(key)

    def put(self, work: QueuedWork) -> None:
        """Work waits, or waits otherwise than before."""
        if self._work_by_key.get(work.key) == work:
            return
        self._work_by_key[work.key] = work
        self._push(work)
        if self._entry_count > 2 * len(self._work_by_key) + _MAX_STALE_ENTRIES:
            self._rebuild()

    def drop(self, key: WorkKey) -> None:
        """It waits no longer; its entry is passed over when it comes up."""
        self._work_by_key.pop(key, None)

    def peek(self, tenant_share: TenantShare, *, now_seconds: float) -> QueuedWork | None:
        """Whose turn it is; None: nobody waits."""
        heap = self._next_heap(tenant_share, now_seconds)
        return heap[0][-1] if heap else None

    def pop(self, tenant_share: TenantShare, *, now_seconds: float) -> QueuedWork | None:
        """Takes out whose turn it is; None: nobody waits."""
        heap = self._next_heap(tenant_share, now_seconds)
        if heap is None:
            return None
        self._entry_count -= 1
        work = heapq.heappop(heap)[-1]
        del self._work_by_key[work.key]
        return work

    def _next_heap(self, tenant_share: TenantShare, now_seconds: float) -> _Heap | None:
        """The heap with the work on top whose turn it is."""
        self._age_priorities(aging_window_of(now_seconds))
        while self._priority_heap:
            best = self._best_heap(self._groups_by_priority[-self._priority_heap[0]], tenant_share)
            if best is not None:
                return best
            for group in self._groups_by_priority.pop(-heapq.heappop(self._priority_heap)):
                del self._groups[group.priority, group.window]
        return None

    def _best_heap(self, groups: list[_Group], tenant_share: TenantShare) -> _Heap | None:
        """The heap of the tenant whose turn it is, among groups that count alike."""
        best: tuple[float, TenantSortKey] | None = None
        found: _Heap | None = None
        for group in groups:
            for tenant in list(group.tenants):
                heap = self._prune_heap(group, tenant)
                if not heap:
                    continue
                sort_key = (tenant_share(tenant), heap[0][0])
                if best is None or sort_key < best:
                    best, found = sort_key, heap
        return found

    def _prune_heap(self, group: _Group, tenant: str) -> _Heap:
        """A tenant's heap with somebody who still waits on top; an empty one is forgotten."""
        heap = group.tenants[tenant]
        while heap and self._work_by_key.get(heap[0][-1].key) is not heap[0][-1]:
            heapq.heappop(heap)
            self._entry_count -= 1
        if not heap:
            del group.tenants[tenant]
        return heap

    def _push(self, work: QueuedWork) -> None:
        group_key = (work.priority, aging_window_of(work.waiting_since_seconds))
        group = self._groups.get(group_key)
        if group is None:
            group = self._groups[group_key] = _Group(*group_key)
            self._insert_group(group)
        heap = group.tenants.setdefault(work.tenant, [])
        heapq.heappush(heap, (sort_key_within_tenant(work), next(self._sequence), work))
        self._entry_count += 1

    def _insert_group(self, group: _Group) -> None:
        """Puts a group where its priority stands in the present window."""
        priority = aged_priority(group.priority, self._window - group.window)
        if priority in self._groups_by_priority:
            self._groups_by_priority[priority].append(group)
        else:
            self._groups_by_priority[priority] = [group]
            heapq.heappush(self._priority_heap, -priority)

    def _age_priorities(self, window: int) -> None:
        """A new window: all that waited since an earlier one counts for more."""
        if window == self._window:
            return
        self._window = window
        self._groups_by_priority.clear()
        self._priority_heap.clear()
        self._groups = {place: one for place, one in self._groups.items() if one.tenants}
        for group in self._groups.values():
            self._insert_group(group)

    def _rebuild(self) -> None:
        """Builds everything anew from what still waits."""
        self._groups.clear()
        self._groups_by_priority.clear()
        self._priority_heap.clear()
        self._entry_count = 0
        for work in self._work_by_key.values():
            self._push(work)
