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
    Shares,
    TurnOfTenant,
    Waiting,
    lifted,
    turn_within_tenant,
    window_of,
)

_SPARE_ENTRIES = 64

_Heap = list[tuple[TurnOfTenant, int, Waiting]]
"""Turn, a number that breaks ties between entries of one workload, and the work."""


@dataclass(slots=True)
class _Group:
    """The work of one priority that joined in one window."""

    priority: int
    window: int
    tenants: dict[str, _Heap] = field(default_factory=dict)


class Turns:
    """Work in the order of `queueing.turn_of`."""

    def __init__(self) -> None:
        self._works: dict[WorkKey, Waiting] = {}
        self._groups: dict[tuple[int, int], _Group] = {}
        self._levels: dict[int, list[_Group]] = {}
        self._order: list[int] = []
        self._window = 0
        self._entries = 0
        self._ticket = itertools.count()

    def __len__(self) -> int:
        return len(self._works)

    def __contains__(self, key: WorkKey) -> bool:
        return key in self._works

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._works.values())

    def keys(self) -> KeysView[WorkKey]:
        """Whose work waits."""
        return self._works.keys()

    def get(self, key: WorkKey) -> Waiting | None:
        """The work with this key, if it waits."""
        return self._works.get(key)

    def put(self, work: Waiting) -> None:
        """Work waits, or waits otherwise than before."""
        if self._works.get(work.key) == work:
            return
        self._works[work.key] = work
        self._push(work)
        if self._entries > 2 * len(self._works) + _SPARE_ENTRIES:
            self._clear_out()

    def drop(self, key: WorkKey) -> None:
        """It waits no longer; its entry is passed over when it comes up."""
        self._works.pop(key, None)

    def peek(self, shares: Shares, *, now_seconds: float) -> Waiting | None:
        """Whose turn it is; None: nobody waits."""
        heap = self._next(shares, now_seconds)
        return heap[0][-1] if heap else None

    def pop(self, shares: Shares, *, now_seconds: float) -> Waiting | None:
        """Takes out whose turn it is; None: nobody waits."""
        heap = self._next(shares, now_seconds)
        if heap is None:
            return None
        self._entries -= 1
        work = heapq.heappop(heap)[-1]
        del self._works[work.key]
        return work

    def _next(self, shares: Shares, now_seconds: float) -> _Heap | None:
        """The heap with the work on top whose turn it is."""
        self._lift(window_of(now_seconds))
        while self._order:
            best = self._best(self._levels[-self._order[0]], shares)
            if best is not None:
                return best
            for group in self._levels.pop(-heapq.heappop(self._order)):
                del self._groups[group.priority, group.window]
        return None

    def _best(self, groups: list[_Group], shares: Shares) -> _Heap | None:
        """The heap of the tenant whose turn it is, among groups that count alike."""
        best: tuple[float, TurnOfTenant] | None = None
        found: _Heap | None = None
        for group in groups:
            for tenant in list(group.tenants):
                heap = self._live(group, tenant)
                if not heap:
                    continue
                turn = (shares(tenant), heap[0][0])
                if best is None or turn < best:
                    best, found = turn, heap
        return found

    def _live(self, group: _Group, tenant: str) -> _Heap:
        """A tenant's heap with somebody who still waits on top; an empty one is forgotten."""
        heap = group.tenants[tenant]
        while heap and self._works.get(heap[0][-1].key) is not heap[0][-1]:
            heapq.heappop(heap)
            self._entries -= 1
        if not heap:
            del group.tenants[tenant]
        return heap

    def _push(self, work: Waiting) -> None:
        place = (work.priority, window_of(work.waiting_since_seconds))
        group = self._groups.get(place)
        if group is None:
            group = self._groups[place] = _Group(*place)
            self._stand(group)
        heap = group.tenants.setdefault(work.tenant, [])
        heapq.heappush(heap, (turn_within_tenant(work), next(self._ticket), work))
        self._entries += 1

    def _stand(self, group: _Group) -> None:
        """Puts a group where its priority stands in the present window."""
        level = lifted(group.priority, self._window - group.window)
        if level in self._levels:
            self._levels[level].append(group)
        else:
            self._levels[level] = [group]
            heapq.heappush(self._order, -level)

    def _lift(self, window: int) -> None:
        """A new window: all that waited since an earlier one counts for more."""
        if window == self._window:
            return
        self._window = window
        self._levels.clear()
        self._order.clear()
        self._groups = {place: one for place, one in self._groups.items() if one.tenants}
        for group in self._groups.values():
            self._stand(group)

    def _clear_out(self) -> None:
        """Builds everything anew from what still waits."""
        self._groups.clear()
        self._levels.clear()
        self._order.clear()
        self._entries = 0
        for work in self._works.values():
            self._push(work)
