"""Which workload is decided next: active, back-off, unschedulable.

The three pools of the kube-scheduler. Active work is taken by priority, then age. What failed for a
passing reason waits out a back-off; what no site can take waits until an event wakes it or a
re-check is due. One workload is never in two decisions at once: what changes while it is decided is
decided again.
"""

import asyncio
import heapq
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from scheduler.clock import Clock

WorkKey = tuple[str, str]
"""(namespace, name)"""


@dataclass(frozen=True, slots=True)
class Urgency:
    """What the order of decisions follows.

    Attributes:
        priority: higher first.
        created_at_seconds: since the epoch; older first.
    """

    priority: int = 0
    created_at_seconds: float = 0.0


@dataclass(slots=True)
class _Waiting:
    """Work that no site can take now."""

    reasons: frozenset[str]
    due_seconds: float


@dataclass(slots=True)
class _Retry:
    """Work that waits out its back-off."""

    due_seconds: float
    attempts: int


@dataclass(slots=True)
class WorkQueue:
    """The scheduling queue.

    Attributes:
        clock: for back-off and re-checks.
        first_backoff_seconds: pause after the first failure, doubled each time.
        last_backoff_seconds: the longest pause.
        recheck_seconds: unschedulable work is decided again after so long.
    """

    clock: Clock
    first_backoff_seconds: float
    last_backoff_seconds: float
    recheck_seconds: float
    _active: list[tuple[int, float, int, WorkKey]] = field(default_factory=list)
    _queued: set[WorkKey] = field(default_factory=set)
    _deciding: set[WorkKey] = field(default_factory=set)
    _again: set[WorkKey] = field(default_factory=set)
    _retries: dict[WorkKey, _Retry] = field(default_factory=dict)
    _waiting: dict[WorkKey, _Waiting] = field(default_factory=dict)
    _urgency: dict[WorkKey, Urgency] = field(default_factory=dict)
    _ticket: "itertools.count[int]" = field(default_factory=itertools.count)
    _event: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, key: WorkKey, urgency: Urgency) -> None:
        """Something about this workload changed: it is to be decided, once."""
        self._urgency[key] = urgency
        self._retries.pop(key, None)
        self._waiting.pop(key, None)
        self._activate(key)

    def forget(self, key: WorkKey) -> None:
        """The workload is gone."""
        self._urgency.pop(key, None)
        self._retries.pop(key, None)
        self._waiting.pop(key, None)
        self._queued.discard(key)
        self._again.discard(key)

    async def take(self) -> WorkKey:
        """Waits for the most urgent workload; it stays out of the queue until `finish`."""
        while True:
            self._revive()
            while self._active:
                key = heapq.heappop(self._active)[-1]
                if key in self._queued:  # else forgotten, or queued anew with another urgency
                    self._queued.discard(key)
                    self._deciding.add(key)
                    return key
            self._event.clear()
            await self._wait()

    def finish(self, key: WorkKey) -> None:
        """The decision on this workload is done."""
        self._deciding.discard(key)
        if key in self._again:
            self._again.discard(key)
            self._activate(key)

    def fail(self, key: WorkKey) -> None:
        """The attempt failed for a passing reason: try again after a back-off."""
        earlier = self._retries.get(key)
        attempts = (earlier.attempts if earlier else 0) + 1
        pause = min(
            self.first_backoff_seconds * 2 ** min(attempts - 1, 16), self.last_backoff_seconds
        )
        self._retries[key] = _Retry(self.clock.monotonic() + pause, attempts)
        self._event.set()

    def succeed(self, key: WorkKey) -> None:
        """The attempt led somewhere: the next failure starts with the shortest pause."""
        self._retries.pop(key, None)

    def park(
        self, key: WorkKey, reasons: Iterable[str], *, again_in_seconds: float | None = None
    ) -> None:
        """No site can take it now.

        Args:
            key: the workload.
            reasons: the slugs that stood in the way.
            again_in_seconds: when it is known to change by itself; never later than a re-check.
        """
        pause = min(self.recheck_seconds, max(0.0, again_in_seconds or self.recheck_seconds))
        self._waiting[key] = _Waiting(frozenset(reasons), self.clock.monotonic() + pause)

    def wake(self, could_help: Callable[[frozenset[str]], bool]) -> int:
        """Something changed that may help: parked work with such reasons is decided again.

        Args:
            could_help: whether the change could alter any of these reasons.

        Returns:
            How many workloads woke.
        """
        helped = [key for key, one in self._waiting.items() if could_help(one.reasons)]
        for key in helped:
            del self._waiting[key]
            self._activate(key)
        return len(helped)

    def waiting_for(self) -> list[frozenset[str]]:
        """The reasons of each workload that no site can take now."""
        return [one.reasons for one in self._waiting.values()]

    def depths(self) -> dict[str, int]:
        """How many workloads are in each pool: active, backoff, unschedulable."""
        return {
            "active": len(self._queued) + len(self._deciding),
            "backoff": len(self._retries),
            "unschedulable": len(self._waiting),
        }

    def _activate(self, key: WorkKey) -> None:
        if key in self._deciding:
            self._again.add(key)
            return
        if key in self._queued:
            return
        urgency = self._urgency.get(key, Urgency())
        self._queued.add(key)
        entry = (-urgency.priority, urgency.created_at_seconds, next(self._ticket), key)
        heapq.heappush(self._active, entry)
        self._event.set()

    def _revive(self) -> None:
        """Moves what is due from back-off and unschedulable to active."""
        now = self.clock.monotonic()
        for key, retry in list(self._retries.items()):
            if retry.due_seconds <= now and key not in self._queued | self._deciding:
                retry.due_seconds = float("inf")  # kept, so that the next failure waits longer
                self._activate(key)
        for key, waiting in list(self._waiting.items()):
            if waiting.due_seconds <= now:
                del self._waiting[key]
                self._activate(key)

    async def _wait(self) -> None:
        """Until something is added, or the next due time."""
        now = self.clock.monotonic()
        dues = [retry.due_seconds for retry in self._retries.values()]
        dues += [one.due_seconds for one in self._waiting.values()]
        soonest = min(dues, default=now + self.recheck_seconds)
        async with asyncio.TaskGroup() as group:
            sleeper = group.create_task(self.clock.sleep(max(0.0, min(soonest - now, 3600.0))))
            event = group.create_task(self._event.wait())
            await asyncio.wait({sleeper, event}, return_when=asyncio.FIRST_COMPLETED)
            sleeper.cancel()
            event.cancel()
