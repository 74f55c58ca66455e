"""A queue in the order of `order.sort_key` that finds the next work without looking at all of it.

Tenants' shares and aged priorities change while work waits, so one heap over all work would be out
of order at once. The order within a tenant never changes, so there is one heap for each priority,
aging window and tenant. All that joined in one window ages together, so the groups are sorted once
per window; the tenants' shares are read when work is taken.
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
"""Sort key, a number that breaks ties between entries of one workload, and the work."""


@dataclass(slots=True)
class _Group:
    """Work of one priority that joined in one aging window, as a heap for each tenant."""

    priority: int
    window: int
    tenants: dict[str, _Heap] = field(default_factory=dict)


class FairQueue:
    """Work in the order of `order.sort_key`."""

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
        """The keys of all work in the queue."""
        return self._work_by_key.keys()

    def get(self, key: WorkKey) -> QueuedWork | None:
        """The work with this key; None: it is not in the queue."""
        return self._work_by_key.get(key)

    def put(self, work: QueuedWork) -> None:
        """Adds work, or replaces the work with the same key."""
        if self._work_by_key.get(work.key) == work:
            return
        self._work_by_key[work.key] = work
        self._push(work)
        if self._entry_count > 2 * len(self._work_by_key) + _MAX_STALE_ENTRIES:
            self._rebuild()

    def drop(self, key: WorkKey) -> None:
        """Removes work; its entry stays in its heap and is skipped when it comes to the top."""
        self._work_by_key.pop(key, None)

    def peek(self, tenant_share: TenantShare, *, now_seconds: float) -> QueuedWork | None:
        """The next work; None: the queue is empty."""
        heap = self._next_heap(tenant_share, now_seconds)
        return heap[0][-1] if heap else None

    def peek_of_only_tenant(
        self, tenant_share: TenantShare, *, now_seconds: float
    ) -> QueuedWork | None:
        """The next work, if no other tenant has work of its priority; else None.

        Then what is decided about it changes no share that the order of the next work depends on.
        """
        heap = self._next_heap(tenant_share, now_seconds)
        if heap is None:
            return None
        groups = self._groups_by_priority[-self._priority_heap[0]]
        tenants = {tenant for group in groups for tenant in group.tenants}
        return heap[0][-1] if len(tenants) == 1 else None

    def pop(self, tenant_share: TenantShare, *, now_seconds: float) -> QueuedWork | None:
        """Removes and returns the next work; None: the queue is empty."""
        heap = self._next_heap(tenant_share, now_seconds)
        if heap is None:
            return None
        self._entry_count -= 1
        work = heapq.heappop(heap)[-1]
        del self._work_by_key[work.key]
        return work

    def _next_heap(self, tenant_share: TenantShare, now_seconds: float) -> _Heap | None:
        """The heap with the next work on top; None: the queue is empty."""
        self._age_priorities(aging_window_of(now_seconds))
        while self._priority_heap:  # priorities are negated: heapq has the smallest on top
            best = self._best_heap(self._groups_by_priority[-self._priority_heap[0]], tenant_share)
            if best is not None:
                return best
            for group in self._groups_by_priority.pop(-heapq.heappop(self._priority_heap)):
                del self._groups[group.priority, group.window]
        return None

    def _best_heap(self, groups: list[_Group], tenant_share: TenantShare) -> _Heap | None:
        """The heap with the next work, among groups of one aged priority; None: all are empty."""
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
        """A tenant's heap without outdated entries on top; an empty heap is removed."""
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
        """Files a group under its aged priority of the present window."""
        priority = aged_priority(group.priority, self._window - group.window)
        if priority in self._groups_by_priority:
            self._groups_by_priority[priority].append(group)
        else:
            self._groups_by_priority[priority] = [group]
            heapq.heappush(self._priority_heap, -priority)

    def _age_priorities(self, window: int) -> None:
        """Files all groups again if a new window has begun, because their priorities have aged."""
        if window == self._window:
            return
        self._window = window
        self._groups_by_priority.clear()
        self._priority_heap.clear()
        self._groups = {key: one for key, one in self._groups.items() if one.tenants}
        for group in self._groups.values():
            self._insert_group(group)

    def _rebuild(self) -> None:
        """Builds all heaps again without entries that are out of date."""
        self._groups.clear()
        self._groups_by_priority.clear()
        self._priority_heap.clear()
        self._entry_count = 0
        for work in self._work_by_key.values():
            self._push(work)
