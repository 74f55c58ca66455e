"""Which workload is decided next: active, back-off, unschedulable.

The three pools of the kube-scheduler. A workload is in one of them, or is being decided, and never
in two decisions at once: one that changes while it is decided is decided again. Active workloads
are taken in the order of `scheduler.placement.queue.order`, those that run already after the others
(`ActiveWork`). One that failed for a passing reason
waits for a back-off; one that no site can take waits until an event wakes it or a re-check is due.
An event that comes while a workload is decided counts too, because the decision may be based on the
state before it.

A workload that waits for capacity is not woken by every increase of capacity: the
`CapacityWatcher` finds those that could fit.
"""

import asyncio
import dataclasses
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from scheduler.control.queue.active import ActiveWork, Level, stronger
from scheduler.control.queue.capacity_watch import CapacityWatcher
from scheduler.control.queue.timers import TimerQueue
from scheduler.control.queue.unschedulable import Reasons, Unschedulable
from scheduler.model.kinds.metadata import WorkKey
from scheduler.placement.filter.rules import WakeEvent
from scheduler.placement.queue.minimum_requests import MinimumRequest
from scheduler.placement.queue.order import UNRANKED, QueuedWork, TenantShare, could_wake, sort_key
from scheduler.runtime.clock import Clock

_MAX_DOUBLINGS = 16
_MAX_SLEEP_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Urgency:
    """What the order of decisions depends on.

    Attributes:
        priority: higher first.
        created_at_seconds: creation time in seconds since 1970; older first.
        tenant: the owner whose share counts; empty: none.
        level: whether it is new work, or is only looked at again.
    """

    priority: int = 0
    created_at_seconds: float = 0.0
    tenant: str = ""
    level: Level = "new"


@dataclass(slots=True)
class _DecisionState:
    """What happens to a workload while it is decided, and how the decision ended.

    Attributes:
        is_requeued: the workload changed, so it is decided again.
        events: what happened meanwhile.
        due_seconds: monotonic time at which it is decided again; None: not by time.
        reasons: why no site can take it; None: the attempt failed, so only time brings it back.
        minimum_request: what a site must have free to matter to it; None: any site may.
        since_increase: capacity increases from this number on came after it was taken.
        is_capacity_increased: there were such increases.
    """

    is_requeued: bool = False
    events: set[WakeEvent] = field(default_factory=set)
    due_seconds: float | None = None
    reasons: Reasons | None = None
    minimum_request: MinimumRequest | None = None
    since_increase: int = 0
    is_capacity_increased: bool = False

    def could_be_helped(self) -> bool:
        """Whether what happened meanwhile could change the decision."""
        events = self.events
        if self.is_capacity_increased and self.minimum_request is None:
            events = events | {"capacity"}  # with a minimum request, the CapacityWatcher sees to it
        return self.reasons is not None and could_wake(frozenset(events), self.reasons)


def _no_share(_: str) -> float:
    """The share of every tenant when shares do not count."""
    return 0.0


@dataclass(slots=True, kw_only=True)
class SchedulingQueue:
    """The scheduling queue.

    Attributes:
        clock: for back-off, re-checks and the aging of priorities.
        first_backoff_seconds: pause after the first failure, doubled each time.
        last_backoff_seconds: the longest pause.
        recheck_seconds: unschedulable workloads are decided again after this time.
        shares: gives the share of its quota that a tenant uses.
        capacity_watcher: holds workloads that wait for capacity; None: every increase of capacity
            wakes all of them.
    """

    clock: Clock
    first_backoff_seconds: float
    last_backoff_seconds: float
    recheck_seconds: float
    shares: TenantShare = _no_share
    capacity_watcher: CapacityWatcher | None = None
    _urgency: dict[WorkKey, Urgency] = field(default_factory=dict)
    _ranks: dict[WorkKey, int] = field(default_factory=dict)
    _active: ActiveWork = field(default_factory=ActiveWork)
    _deciding: dict[WorkKey, _DecisionState] = field(default_factory=dict)
    _taken_ahead: dict[WorkKey, QueuedWork] = field(default_factory=dict)
    _unschedulable: Unschedulable = field(default_factory=Unschedulable)
    _backoff: set[WorkKey] = field(default_factory=set)
    _attempts: dict[WorkKey, int] = field(default_factory=dict)
    _asked_pauses: dict[WorkKey, float] = field(default_factory=dict)
    _timers: TimerQueue = field(default_factory=TimerQueue)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, key: WorkKey, urgency: Urgency) -> None:
        """Queues a workload that is new or changed; adding it again changes nothing."""
        if self._is_requeued(key):
            level = stronger(self._urgency[key].level, urgency.level)
            urgency = dataclasses.replace(urgency, level=level)
        self._urgency[key] = urgency
        self._attempts.pop(key, None)
        self._leave_waiting_pools(key)
        self._activate(key)

    def forget(self, key: WorkKey) -> None:
        """Forgets a workload that is gone."""
        self._urgency.pop(key, None)
        self._attempts.pop(key, None)
        self._ranks.pop(key, None)
        self._leave_waiting_pools(key)
        self._active.drop(key)
        if key in self._deciding:
            self._deciding[key] = _DecisionState()

    async def take(self) -> WorkKey:
        """Waits for and returns the next workload; it stays out of the queue until `finish`."""
        while (key := self.take_now()) is None:
            await self.wait_for_work()
        return key

    def take_now(self) -> WorkKey | None:
        """As `take`, and never waits; None: no workload is ready."""
        now = self.clock.monotonic()
        self._flush_backoff(now)
        work = self._pop(now)
        if work is None:
            return None
        self._deciding[work.key] = _DecisionState(since_increase=self._next_increase())
        return work.key

    async def wait_for_work(self) -> None:
        """After `take_now` has found nothing: waits until that may find something."""
        self._changed.clear()
        await self._wait_for_change()

    def take_next_if(self, accepts: Callable[[WorkKey], bool]) -> WorkKey | None:
        """Takes the workload that `take` would return next, if it is accepted; never waits.

        It may be decided together with the one that was taken last: no decision about that one
        makes another workload the next. It is also given back by `put_back`.

        Args:
            accepts: whether a workload is wanted.

        Returns:
            None: the next one is not accepted, or what is next is not known yet.
        """
        now, watcher = self.clock.monotonic(), self.capacity_watcher
        self._flush_backoff(now)
        if watcher is not None and watcher.next_fitting(self.shares, now_seconds=now) is not None:
            return None
        work = self._active.pop_next_if(accepts, self.shares, now_seconds=now)
        if work is None:
            return None
        self._deciding[work.key] = _DecisionState(since_increase=self._next_increase())
        self._taken_ahead[work.key] = work
        return work.key

    def put_back(self, key: WorkKey) -> None:
        """Gives back a workload that `take_next_if` returned; it keeps its place.

        Of several the one that was taken last is given back first.
        """
        work, state = self._taken_ahead.pop(key, None), self._deciding.pop(key, None)
        if work is None or state is None or key not in self._urgency:
            return
        if state.is_requeued:  # with what it is now
            work = self._waiting_entry(key, work.waiting_since_seconds)
        level = self.level_of(key)
        self._active.put_back(work, level, now_seconds=self.clock.monotonic())
        self._changed.set()

    def finish(self, key: WorkKey) -> None:
        """Ends the decision of a workload that `take` returned."""
        self._taken_ahead.pop(key, None)
        done = self._deciding.pop(key, None)
        if done is None or key not in self._urgency:
            return
        if done.is_requeued or done.could_be_helped():
            self._activate(key)
        elif done.due_seconds is not None:
            self._set_aside(key, done)

    def ask_pause(self, key: WorkKey, seconds: float) -> None:
        """Notes how long the hub asks to wait after an attempt that is about to `fail`."""
        self._asked_pauses[key] = min(seconds, self.last_backoff_seconds)

    def fail(self, key: WorkKey) -> None:
        """Notes that an attempt failed for a passing reason; it is tried again after a back-off."""
        attempts = self._attempts[key] = self._attempts.get(key, 0) + 1
        doubled = self.first_backoff_seconds * 2 ** min(attempts - 1, _MAX_DOUBLINGS)
        asked = self._asked_pauses.pop(key, 0.0)
        self._conclude(key, max(asked, min(doubled, self.last_backoff_seconds)), None, None)

    def succeed(self, key: WorkKey) -> None:
        """Notes that an attempt succeeded; the next failure starts with the shortest pause."""
        self._attempts.pop(key, None)
        known = self._urgency.get(key)
        if known and known.level != "new" and not self._is_requeued(key):
            # If an event wakes it, it waits to be placed.
            self._urgency[key] = dataclasses.replace(known, level="new")

    def retry_after(self, key: WorkKey, seconds: float) -> None:
        """Notes that a workload is looked at again after a time; that is no new work."""
        known = self._urgency.get(key)
        if known and not self._is_requeued(key):
            self._urgency[key] = dataclasses.replace(known, level="recheck")
        self._conclude(key, seconds, None, None)

    def mark_unschedulable(
        self,
        key: WorkKey,
        reasons: Iterable[str],
        *,
        minimum_request: MinimumRequest | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        """Notes that no site can take a workload now.

        Args:
            key: the workload.
            reasons: the slugs of the reasons.
            minimum_request: what a site must have free to matter to it; None: any site may.
            retry_after_seconds: after this time the decision may change by itself; None or a longer
                time: it is decided again when a re-check is due.
        """
        pause = min(self.recheck_seconds, max(0.0, retry_after_seconds or self.recheck_seconds))
        self._conclude(key, pause, frozenset(reasons), minimum_request)

    def wake(self, *events: WakeEvent, max_count: int = sys.maxsize) -> int:
        """Queues the unschedulable workloads that these events could help.

        Args:
            events: what happened; "capacity": at sites that are not known.
            max_count: wake at most this many; the same call again wakes the next ones.

        Returns:
            How many workloads woke.
        """
        happened = frozenset(events)
        for state in self._deciding.values():
            state.events |= happened
        return self._wake(happened, max_count, are_sites_known=False)

    def on_capacity_increased(self, sites: Collection[str]) -> None:
        """Notes that these sites have more capacity; workloads that could fit there are next."""
        if self.capacity_watcher is None:
            self.wake("capacity")
            return
        for state in self._deciding.values():
            state.is_capacity_increased = True
        self.capacity_watcher.on_capacity_increased(sites, now_seconds=self.clock.monotonic())
        self._wake(frozenset({"capacity"}), sys.maxsize, are_sites_known=True)
        self._changed.set()

    def _wake(self, events: frozenset[WakeEvent], max_count: int, *, are_sites_known: bool) -> int:
        woken = self._unschedulable.pop_helped(events, max_count, are_sites_known=are_sites_known)
        for key in woken:
            self._leave_waiting_pools(key)
            self._activate(key)
        return len(woken)

    def set_ranks(self, ranks: Mapping[WorkKey, int]) -> None:
        """Sets ranks: within a tenant and a priority, ranked workloads come before all others.

        Args:
            ranks: by workload, smaller is earlier; `UNRANKED` removes a rank.
        """
        for key, rank in ranks.items():
            if rank == UNRANKED:
                self._ranks.pop(key, None)
            elif key in self._urgency:
                self._ranks[key] = rank
            work = self._active.get(key)
            if work is not None:
                self._active.replace(dataclasses.replace(work, rank=rank))
            if self.capacity_watcher is not None:
                self.capacity_watcher.set_rank(key, rank)

    def unschedulable_reasons(self) -> list[Reasons]:
        """The reasons of each workload that no site can take now."""
        return self._unschedulable.reasons()

    def active(self) -> Iterator[QueuedWork]:
        """All active workloads, in no order."""
        return iter(self._active)

    def count_waiting(self, slugs: frozenset[str]) -> int:
        """How many workloads `waiting_keys` returns."""
        return len(self._active) + self._unschedulable.count(slugs)

    def waiting_keys(self, slugs: frozenset[str]) -> list[WorkKey]:
        """All active workloads, and those that no site can take for one of these reasons."""
        return [*self._active.keys(), *self._unschedulable.keys_with_reason(slugs)]

    def level_of(self, key: WorkKey) -> Level:
        """The priority level at which a workload is queued."""
        return self._urgency.get(key, _DEFAULT_URGENCY).level

    def depths(self) -> dict[str, int]:
        """The number of workloads in each pool; those being decided count as active."""
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
        level = self.level_of(key)
        self._active.put(self._waiting_entry(key, since), level, now_seconds=self.clock.monotonic())
        self._changed.set()

    def _is_requeued(self, key: WorkKey) -> bool:
        return key in self._deciding and self._deciding[key].is_requeued

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
        """Removes and returns the next workload; None when no workload is ready.

        It is an active one, or one that could fit where capacity increased. Re-checks that have
        waited come first, all others last.
        """
        shares, fitting = self.shares, None
        overdue = self._active.pop_overdue(shares, now_seconds=now_seconds)
        if overdue is not None:
            return overdue
        if self.capacity_watcher is not None:
            fitting = self.capacity_watcher.next_fitting(shares, now_seconds=now_seconds)
        if fitting is None:
            return self._active.pop(shares, now_seconds=now_seconds)
        active = self._active.peek_new(shares, now_seconds=now_seconds)
        sort_keys = [
            sort_key(one, shares, now_seconds=now_seconds) for one in (fitting, active) if one
        ]
        if sort_keys[0] != min(sort_keys):
            return self._active.pop(shares, now_seconds=now_seconds)
        self._leave_waiting_pools(fitting.key)
        return fitting

    def _next_increase(self) -> int:
        """The number that the next increase of capacity will have."""
        return 0 if self.capacity_watcher is None else self.capacity_watcher.next_increase

    def _conclude(
        self,
        key: WorkKey,
        pause_seconds: float,
        reasons: Reasons | None,
        minimum_request: MinimumRequest | None,
    ) -> None:
        """Notes how a decision ended; takes effect at `finish`, or at once if none is going on."""
        is_being_decided = key in self._deciding
        state = (
            self._deciding[key]
            if is_being_decided
            else _DecisionState(since_increase=self._next_increase())
        )
        state.due_seconds = self.clock.monotonic() + pause_seconds
        state.reasons, state.minimum_request = reasons, minimum_request
        if not is_being_decided:
            self._set_aside(key, state)

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
        self._changed.set()  # `take` may sleep until a later due time than this one

    def _add_unschedulable(self, key: WorkKey, reasons: Reasons, done: _DecisionState) -> None:
        is_watched = self.capacity_watcher is not None and done.minimum_request is not None
        self._unschedulable.put(key, reasons, is_watched=is_watched)
        if self.capacity_watcher is not None and done.minimum_request is not None:
            work = self._waiting_entry(key, self.clock.monotonic())
            self.capacity_watcher.put(work, done.minimum_request, done.since_increase)

    def _leave_waiting_pools(self, key: WorkKey) -> None:
        """Removes a workload from back-off and unschedulable."""
        self._timers.drop(key)
        self._backoff.discard(key)
        self._unschedulable.drop(key)
        if self.capacity_watcher is not None:
            self.capacity_watcher.drop(key)

    def _flush_backoff(self, now_seconds: float) -> None:
        """Moves workloads that are due from back-off and unschedulable to active."""
        for key in self._timers.pop_due(now_seconds):
            self._leave_waiting_pools(key)
            self._activate(key)

    async def _wait_for_change(self) -> None:
        """Waits until a workload is added, or until the next due time."""
        now, soonest = self.clock.monotonic(), self._timers.next_due_seconds()
        pause = _MAX_SLEEP_SECONDS if soonest is None else max(0.0, soonest - now)
        async with asyncio.TaskGroup() as group:
            sleeper = group.create_task(self.clock.sleep(min(pause, _MAX_SLEEP_SECONDS)))
            event = group.create_task(self._changed.wait())
            await asyncio.wait({sleeper, event}, return_when=asyncio.FIRST_COMPLETED)
            sleeper.cancel()
            event.cancel()


_DEFAULT_URGENCY = Urgency()
