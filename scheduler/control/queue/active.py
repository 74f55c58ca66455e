"""Work that is ready to be decided: new work first, and re-checks never without end behind it.

A re-check looks again at what runs already. Most of them can wait while there is new work; once
they have waited, one of eight taken is a re-check. New work that is decided in one step is taken
together, and the re-checks that are due for it come after it. Those of violations, and of rights
that end, are urgent: they come after new work for a second, and then before all else.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from scheduler.model.kinds.metadata import WorkKey
from scheduler.placement.queue.fair_queue import FairQueue
from scheduler.placement.queue.order import QueuedWork, TenantShare

Level = Literal["recheck", "new", "urgent"]
"""The priority level: what runs is looked at again, work is to be placed, or it may not wait."""

PATIENCE_SECONDS = 1.0
"""So long re-checks wait behind new work; urgent ones then come first."""
NEW_PER_RECHECK = 7
"""So many workloads are taken for each re-check that has waited."""
MOST_NEW_AT_ONCE = 8 * NEW_PER_RECHECK
"""So many are taken together while re-checks wait; the steps of eight cost each workload more."""
_STRENGTH: dict[Level, int] = {"recheck": 0, "new": 1, "urgent": 2}


def stronger(one: Level, other: Level) -> Level:
    """The level of work that was queued for two reasons: the one that is taken earlier."""
    return max(one, other, key=_STRENGTH.__getitem__)


@dataclass(slots=True)
class ActiveWork:
    """Work by level; new work and re-checks in fair order, urgent ones as they came."""

    _new: FairQueue = field(default_factory=FairQueue)
    _rechecks: FairQueue = field(default_factory=FairQueue)
    _urgent: OrderedDict[WorkKey, QueuedWork] = field(default_factory=OrderedDict)
    _rechecks_since_seconds: float = 0.0
    _taken_since_recheck: int = 0

    def __len__(self) -> int:
        return len(self._new) + len(self._rechecks) + len(self._urgent)

    def __iter__(self) -> Iterator[QueuedWork]:
        yield from self._urgent.values()
        yield from self._new
        yield from self._rechecks

    def keys(self) -> list[WorkKey]:
        """The keys of all work."""
        return [*self._urgent, *self._new.keys(), *self._rechecks.keys()]

    def get(self, key: WorkKey) -> QueuedWork | None:
        """The work with this key; None: it is not here."""
        return self._urgent.get(key) or self._new.get(key) or self._rechecks.get(key)

    def put(self, work: QueuedWork, level: Level, *, now_seconds: float) -> None:
        """Adds work, or replaces the work with the same key; it keeps the higher level."""
        key = work.key
        if key in self._urgent:
            level = "urgent"
        elif key in self._new:
            level = stronger(level, "new")
        if level != "new":
            self._new.drop(key)
        if level != "recheck":
            self._rechecks.drop(key)
        if level == "urgent":
            self._urgent[key] = work
        elif level == "new":
            self._new.put(work)
        else:
            if not len(self._rechecks):
                self._rechecks_since_seconds = now_seconds
            self._rechecks.put(work)

    def put_back(self, work: QueuedWork, level: Level, *, now_seconds: float) -> None:
        """Adds work that was taken; urgent work comes first again."""
        self.put(work, level, now_seconds=now_seconds)
        if work.key in self._urgent:
            self._urgent.move_to_end(work.key, last=False)

    def replace(self, work: QueuedWork) -> None:
        """Replaces the work with the same key, at its level."""
        level: Level = "new" if work.key in self._new else "recheck"
        self.put(work, level, now_seconds=self._rechecks_since_seconds)

    def drop(self, key: WorkKey) -> None:
        """Removes work."""
        self._urgent.pop(key, None)
        self._new.drop(key)
        self._rechecks.drop(key)

    def pop_overdue(self, shares: TenantShare, *, now_seconds: float) -> QueuedWork | None:
        """Removes and returns a re-check that has waited long enough; None: none has."""
        urgent = self._overdue_urgent(now_seconds)
        if urgent:
            return self._urgent.pop(urgent.key)
        if self._is_recheck_overdue(now_seconds, new_before=NEW_PER_RECHECK):
            return self._pop_recheck(shares, now_seconds)
        self._note_new()
        return None

    def _note_new(self) -> None:
        self._taken_since_recheck = min(self._taken_since_recheck + 1, MOST_NEW_AT_ONCE)

    def _overdue_urgent(self, now_seconds: float) -> QueuedWork | None:
        oldest = next(iter(self._urgent.values()), None)
        if oldest and now_seconds - oldest.waiting_since_seconds >= PATIENCE_SECONDS:
            return oldest
        return None

    def _is_recheck_overdue(self, now_seconds: float, *, new_before: int) -> bool:
        has_waited = now_seconds - self._rechecks_since_seconds >= PATIENCE_SECONDS
        is_turn = self._taken_since_recheck >= new_before
        return bool(len(self._rechecks)) and has_waited and is_turn

    def pop_next_if(
        self, accepts: Callable[[WorkKey], bool], shares: TenantShare, *, now_seconds: float
    ) -> QueuedWork | None:
        """Removes and returns the next work, if that is new or urgent work that is accepted.

        It must stay the next whatever is decided meanwhile about work of its tenant, so there is
        none while another tenant has new work of its priority.
        """
        urgent = self._overdue_urgent(now_seconds)
        if urgent is None:
            if self._is_recheck_overdue(now_seconds, new_before=MOST_NEW_AT_ONCE):
                return None
            if len(self._new):
                return self._pop_new_if(accepts, shares, now_seconds)
            urgent = next(iter(self._urgent.values()), None)
        if urgent is None or not accepts(urgent.key):
            return None
        self._note_new()
        return self._urgent.pop(urgent.key)

    def _pop_new_if(
        self, accepts: Callable[[WorkKey], bool], shares: TenantShare, now_seconds: float
    ) -> QueuedWork | None:
        work = self._new.peek_of_only_tenant(shares, now_seconds=now_seconds)
        if work is None or not accepts(work.key):
            return None
        self._note_new()
        return self._new.pop(shares, now_seconds=now_seconds)

    def peek_new(self, shares: TenantShare, *, now_seconds: float) -> QueuedWork | None:
        """The new work that is next; None: there is none."""
        return self._new.peek(shares, now_seconds=now_seconds)

    def pop(self, shares: TenantShare, *, now_seconds: float) -> QueuedWork | None:
        """Removes and returns the next work; None: there is none."""
        work = self._new.pop(shares, now_seconds=now_seconds)
        if work is None and self._urgent:
            work = self._urgent.pop(next(iter(self._urgent)))
        return work or self._pop_recheck(shares, now_seconds)

    def _pop_recheck(self, shares: TenantShare, now_seconds: float) -> QueuedWork | None:
        self._taken_since_recheck = max(0, self._taken_since_recheck - NEW_PER_RECHECK)
        return self._rechecks.pop(shares, now_seconds=now_seconds)
