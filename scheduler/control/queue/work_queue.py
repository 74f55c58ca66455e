"""Which workload is decided next: active, back-off, unschedulable.

The three pools of the kube-scheduler; a workload is in one of them, or being decided, and never in
two decisions at once: what changes while it is decided is decided again. Active work is taken in
the order of `scheduler.placement.queue.order`. What failed for a passing reason waits out a
back-off; what no site can take waits until an event wakes it or a re-check is due. An event that
comes while a workload is decided counts too: the decision may have stood on what was before.

What waits for room is not woken by every gain of room: the `CapacityWatcher` says who could fit
there.
"""

import asyncio
import dataclasses
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from scheduler.control.queue.capacity_watch import CapacityWatcher
from scheduler.control.queue.timers import TimerQueue
from scheduler.control.queue.unschedulable import Reasons, Unschedulable
from scheduler.model.kinds.metadata import WorkKey
from scheduler.placement.filter.rules import WakeEvent
from scheduler.placement.queue.fair_queue import FairQueue
from scheduler.placement.queue.minimum_requests import MinimumRequest
from scheduler.placement.queue.order import UNRANKED, QueuedWork, TenantShare, could_wake, sort_key
from scheduler.runtime.clock import Clock

_MAX_DOUBLINGS = 16
_MAX_SLEEP_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Urgency:
    """What the order of decisions follows.

    Attributes:
        priority: higher first.
        created_at_seconds: since the epoch; older first.
        tenant: whose share counts; empty: nobody's.
    """

    priority: int = 0
    created_at_seconds: float = 0.0
    tenant: str = ""


@dataclass(slots=True)
class _DecisionState:
    """What happens to a workload while it is decided.

    Attributes:
        is_requeued: it changed, so it is decided again.
        events: what happened meanwhile.
        due_seconds: when it is looked at again; None: it needs not be.
        reasons: what stood in its way; None: it failed, and waits for its time only.
        minimum_request: what a site must have to matter to it; None: any could.
        since_increase: gains of room from here on came after it was taken.
        is_capacity_increased: there were such gains.
    """

    is_requeued: bool = False
    events: set[WakeEvent] = field(default_factory=set)
    due_seconds: float | None = None
    reasons: Reasons | None = None
    minimum_request: MinimumRequest | None = None
    since_increase: int = 0
    is_capacity_increased: bool = False

    def could_be_helped(self) -> bool:
        """Whether what happened meanwhile could change the answer."""
        happened = self.events
        if self.is_capacity_increased and self.minimum_request is None:
            happened = happened | {"capacity"}
        return self.reasons is not None and could_wake(frozenset(happened), self.reasons)


def _no_share(_: str) -> float:
    """The share of every tenant where shares do not count."""
    return 0.0


@dataclass(slots=True)
class SchedulingQueue:
    """The scheduling queue.

    Attributes:
        clock: for back-off, re-checks and the lift of what waits long.
        first_backoff_seconds: pause after the first failure, doubled each time.
        last_backoff_seconds: the longest pause.
        recheck_seconds: unschedulable work is decided again after so long.
        shares: of its quota, how much a tenant uses.
        capacity_watcher: who waits for room; None: every gain of room wakes all that wait for it.
    """

    clock: Clock
    first_backoff_seconds: float
    last_backoff_seconds: float
    recheck_seconds: float
    shares: TenantShare = _no_share
    capacity_watcher: CapacityWatcher | None = None
    _urgency: dict[WorkKey, Urgency] = field(default_factory=dict)
    _ranks: dict[WorkKey, int] = field(default_factory=dict)
    _active: FairQueue = field(default_factory=FairQueue)
    _deciding: dict[WorkKey, _DecisionState] = field(default_factory=dict)
    _unschedulable: Unschedulable = field(default_factory=Unschedulable)
    _backoff: set[WorkKey] = field(default_factory=set)
    _attempts: dict[WorkKey, int] = field(default_factory=dict)
    _timers: TimerQueue = field(default_factory=TimerQueue)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, key: WorkKey, urgency: Urgency) -> None:
        """Something about this workload changed: it is to be decided, once."""
        self._urgency[key] = urgency
        self._attempts.pop(key, None)
        self._leave_waiting_pools(key)
        self._activate(key)

    def forget(self, key: WorkKey) -> None:
        """The workload is gone."""
        self._urgency.pop(key, None)
        self._attempts.pop(key, None)
        self._ranks.pop(key, None)
        self._leave_waiting_pools(key)
        self._active.drop(key)
        if key in self._deciding:
            self._deciding[key] = _DecisionState()

    async def take(self) -> WorkKey:
        """Waits for whoever's turn it is; it stays out of the queue until `finish`."""
        while True:
            now = self.clock.monotonic()
            self._flush_backoff(now)
            work = self._pop(now)
            if work is not None:
                position = self._next_increase()
                self._deciding[work.key] = _DecisionState(since_increase=position)
                return work.key
            self._changed.clear()
            await self._wait_for_change()

    def finish(self, key: WorkKey) -> None:
        """The decision on this workload is done."""
        done = self._deciding.pop(key, None)
        if done is None or key not in self._urgency:
            return
        if done.is_requeued or done.could_be_helped():
            self._activate(key)
        elif done.due_seconds is not None:
            self._set_aside(key, done)

    def fail(self, key: WorkKey) -> None:
        """The attempt failed for a passing reason: try again after a back-off."""
        attempts = self._attempts[key] = self._attempts.get(key, 0) + 1
        doubled = self.first_backoff_seconds * 2 ** min(attempts - 1, _MAX_DOUBLINGS)
        self._conclude(key, min(doubled, self.last_backoff_seconds), None, None)

    def succeed(self, key: WorkKey) -> None:
        """The attempt led somewhere: the next failure starts with the shortest pause."""
        self._attempts.pop(key, None)

    def mark_unschedulable(
        self,
        key: WorkKey,
        reasons: Iterable[str],
        *,
        minimum_request: MinimumRequest | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        """No site can take it now.

        Args:
            key: the workload.
            reasons: the slugs that stood in the way.
            minimum_request: what a site must have to matter to it; None: any could.
            retry_after_seconds: when it is known to change by itself; never later than a re-check.
        """
        pause = min(self.recheck_seconds, max(0.0, retry_after_seconds or self.recheck_seconds))
        self._conclude(key, pause, frozenset(reasons), minimum_request)

    def wake(self, *events: WakeEvent, max_count: int = sys.maxsize) -> int:
        """Something happened: parked work whose answer could change by it is decided again.

        Args:
            events: what happened; "capacity": anywhere, nobody knows where.
            max_count: wake no more than so many; the same call again wakes the next.

        Returns:
            How many workloads woke.
        """
        happened = frozenset(events)
        for one in self._deciding.values():
            one.events |= happened
        return self._wake(happened, max_count, are_sites_known=False)

    def on_capacity_increased(self, sites: Collection[str]) -> None:
        """These sites have more room than before: who could fit there has his turn."""
        if self.capacity_watcher is None:
            self.wake("capacity")
            return
        for one in self._deciding.values():
            one.is_capacity_increased = True
        self.capacity_watcher.on_capacity_increased(sites, now_seconds=self.clock.monotonic())
        self._wake(frozenset({"capacity"}), sys.maxsize, are_sites_known=True)
        self._changed.set()

    def _wake(
        self, happened: frozenset[WakeEvent], max_count: int, *, are_sites_known: bool
    ) -> int:
        woken = self._unschedulable.pop_helped(happened, max_count, are_sites_known=are_sites_known)
        for key in woken:
            self._leave_waiting_pools(key)
            self._activate(key)
        return len(woken)

    def set_ranks(self, ranks: Mapping[WorkKey, int]) -> None:
        """Within a tenant and a priority, these workloads are taken by rank, before all unranked.

        Args:
            ranks: smaller is earlier; `UNRANKED` takes a rank back.
        """
        for key, rank in ranks.items():
            if rank == UNRANKED:
                self._ranks.pop(key, None)
            elif key in self._urgency:
                self._ranks[key] = rank
            work = self._active.get(key)
            if work is not None:
                self._active.put(dataclasses.replace(work, rank=rank))
            if self.capacity_watcher is not None:
                self.capacity_watcher.set_rank(key, rank)

    def unschedulable_reasons(self) -> list[Reasons]:
        """The reasons of each workload that no site can take now."""
        return self._unschedulable.reasons()

    def active(self) -> Iterator[QueuedWork]:
        """All that waits for its turn, in no order."""
        return iter(self._active)

    def count_waiting(self, slugs: frozenset[str]) -> int:
        """How many `waiting_keys` there are."""
        return len(self._active) + self._unschedulable.count(slugs)

    def waiting_keys(self, slugs: frozenset[str]) -> list[WorkKey]:
        """All that waits for its turn, and all that no site can take for one of these reasons."""
        return [*self._active.keys(), *self._unschedulable.keys_with_reason(slugs)]

    def depths(self) -> dict[str, int]:
        """How many workloads are in each pool: active, backoff, unschedulable."""
        return {
            "active": len(self._active) + len(self._deciding),
            "backoff": len(self._backoff),
            "unschedulable": len(self._unschedulable),
        }

    def _activate(self, key: WorkKey) -> None:
        if key in self._deciding:
            self._deciding[key].is_requeued = True
            return
        before = self._active.get(key)
        since = before.waiting_since_seconds if before else self.clock.monotonic()
        self._active.put(self._waiting_entry(key, since))
        self._changed.set()

    def _waiting_entry(self, key: WorkKey, since_seconds: float) -> QueuedWork:
        urgency = self._urgency.get(key, _DEFAULT_URGENCY)
        return QueuedWork(
            key=key,
            priority=urgency.priority,
            tenant=urgency.tenant,
            waiting_since_seconds=since_seconds,
            created_at_seconds=urgency.created_at_seconds,
            rank=self._ranks.get(key, UNRANKED),
        )

    def _pop(self, now_seconds: float) -> QueuedWork | None:
        """Takes out whose turn it is: who is active, or who could fit where room was gained."""
        shares, woken = self.shares, None
        if self.capacity_watcher is not None:
            woken = self.capacity_watcher.next_fitting(shares, now_seconds=now_seconds)
        if woken is None:
            return self._active.pop(shares, now_seconds=now_seconds)
        active = self._active.peek(shares, now_seconds=now_seconds)
        turns = [sort_key(one, shares, now_seconds=now_seconds) for one in (woken, active) if one]
        if turns[0] != min(turns):
            return self._active.pop(shares, now_seconds=now_seconds)
        self._leave_waiting_pools(woken.key)
        return woken

    def _next_increase(self) -> int:
        """Gains of room from here on are still to come."""
        return 0 if self.capacity_watcher is None else self.capacity_watcher.next_increase

    def _conclude(
        self,
        key: WorkKey,
        pause_seconds: float,
        reasons: Reasons | None,
        minimum_request: MinimumRequest | None,
    ) -> None:
        """How a decision ended: it counts at `finish`, or at once if it is not being decided."""
        is_being_decided = key in self._deciding
        one = (
            self._deciding[key]
            if is_being_decided
            else _DecisionState(since_increase=self._next_increase())
        )
        one.due_seconds = self.clock.monotonic() + pause_seconds
        one.reasons, one.minimum_request = reasons, minimum_request
        if not is_being_decided:
            self._set_aside(key, one)

    def _set_aside(self, key: WorkKey, done: _DecisionState) -> None:
        self._urgency.setdefault(key, _DEFAULT_URGENCY)
        self._leave_waiting_pools(key)
        self._active.drop(key)
        if done.due_seconds is not None:
            self._timers.set(key, done.due_seconds)
        if done.reasons is None:
            self._backoff.add(key)
        else:
            self._add_unschedulable(key, done.reasons, done)
        self._changed.set()  # whoever sleeps until the next due time: it may be this one

    def _add_unschedulable(self, key: WorkKey, reasons: Reasons, done: _DecisionState) -> None:
        is_watched = self.capacity_watcher is not None and done.minimum_request is not None
        self._unschedulable.put(key, reasons, is_watched=is_watched)
        if self.capacity_watcher is not None and done.minimum_request is not None:
            work = self._waiting_entry(key, self.clock.monotonic())
            self.capacity_watcher.put(work, done.minimum_request, done.since_increase)

    def _leave_waiting_pools(self, key: WorkKey) -> None:
        """Out of back-off and unschedulable."""
        self._timers.drop(key)
        self._backoff.discard(key)
        self._unschedulable.drop(key)
        if self.capacity_watcher is not None:
            self.capacity_watcher.drop(key)

    def _flush_backoff(self, now_seconds: float) -> None:
        """Moves what is due from back-off and unschedulable to active."""
        for key in self._timers.pop_due(now_seconds):
            self._leave_waiting_pools(key)
            self._activate(key)

    async def _wait_for_change(self) -> None:
        """Until something is added, or the next due time."""
        now, soonest = self.clock.monotonic(), self._timers.next_due_seconds()
        pause = _MAX_SLEEP_SECONDS if soonest is None else max(0.0, soonest - now)
        async with asyncio.TaskGroup() as group:
            sleeper = group.create_task(self.clock.sleep(min(pause, _MAX_SLEEP_SECONDS)))
            event = group.create_task(self._changed.wait())
            await asyncio.wait({sleeper, event}, return_when=asyncio.FIRST_COMPLETED)
            sleeper.cancel()
            event.cancel()


_DEFAULT_URGENCY = Urgency()
