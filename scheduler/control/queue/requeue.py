"""Puts workloads into the queue, and remembers why placed ones are to be decided again.

Nothing of this is kept on disk: after a start, all placed workloads are decided again.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from scheduler.control.queue.active import Level
from scheduler.control.queue.timers import TimerQueue
from scheduler.control.queue.work_queue import SchedulingQueue, Urgency
from scheduler.control.state.fair_shares import FairShares
from scheduler.control.state.objects import HubObjects
from scheduler.control.status.conditions import is_spec_changed, is_unplaced
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload


@dataclass(frozen=True, slots=True)
class RequeueReason:
    """Why a workload is reconciled although it is placed and unchanged.

    Attributes:
        needs_redecision: a rule, a site or the time may affect what runs.
        is_policy_changed: its policy has changed.
    """

    needs_redecision: bool = False
    is_policy_changed: bool = False


@dataclass(slots=True)
class RequeueReasons:
    """Reasons by workload; a reason that comes during a reconciliation counts for the next one."""

    _needs_redecision: set[WorkKey] = field(default_factory=set)
    _policy_changed: set[WorkKey] = field(default_factory=set)
    _timers: TimerQueue = field(default_factory=TimerQueue)

    def add_redecision(self, keys: Iterable[WorkKey]) -> None:
        """Notes that something may affect what runs of these workloads."""
        self._needs_redecision.update(keys)

    def add_policy_change(self, keys: Iterable[WorkKey]) -> None:
        """Notes that the policy of these workloads has changed."""
        self._policy_changed.update(keys)

    def set_timer(self, key: WorkKey, at: datetime | None) -> None:
        """Sets when the passing of time may affect what runs of a workload; None: never."""
        if at is None:
            self._timers.drop(key)
        else:
            self._timers.set(key, at.timestamp())

    def pop_due(self, now: datetime) -> list[WorkKey]:
        """Removes and returns the workloads whose timer has expired."""
        return list(self._timers.pop_due(now.timestamp()))

    def needs_redecision(self, key: WorkKey) -> bool:
        """Whether something may affect what runs of a workload."""
        return key in self._needs_redecision

    def is_policy_changed(self, key: WorkKey) -> bool:
        """Whether the policy of a workload has changed."""
        return key in self._policy_changed

    def take(self, key: WorkKey) -> RequeueReason:
        """Removes and returns the reason of a workload whose reconciliation begins."""
        reason = RequeueReason(key in self._needs_redecision, key in self._policy_changed)
        self._needs_redecision.discard(key)
        self._policy_changed.discard(key)
        return reason

    def restore(self, key: WorkKey, reason: RequeueReason) -> None:
        """Puts a reason back, because the reconciliation failed."""
        if reason.needs_redecision:
            self._needs_redecision.add(key)
        if reason.is_policy_changed:
            self._policy_changed.add(key)

    def forget(self, key: WorkKey) -> None:
        """Forgets a workload that is gone."""
        self.take(key)
        self._timers.drop(key)


@dataclass(slots=True, kw_only=True)
class Requeuer:
    """Puts workloads into the queue with their urgency.

    Attributes:
        objects: the hub's objects.
        queue: the scheduling queue.
        fair_shares: names the owner whose share orders the work.
        reasons: why placed workloads are decided again.
    """

    objects: HubObjects
    queue: SchedulingQueue
    fair_shares: FairShares
    reasons: RequeueReasons

    def enqueue(self, key: WorkKey, *, is_urgent: bool = False) -> None:
        """Queues a workload, also one that is gone: what it used is given back then."""
        workload = self.objects.workloads.get(key)
        self.queue.add(key, self._urgency_of(workload, is_urgent=is_urgent))

    def requeue(self, keys: Iterable[WorkKey], *, is_urgent: bool = False) -> None:
        """Queues those of these workloads that exist."""
        for key in keys:
            if key in self.objects.workloads:
                self.enqueue(key, is_urgent=is_urgent)

    def redecide(self, keys: Iterable[WorkKey], *, is_urgent: bool = False) -> None:
        """Queues workloads, and has them decided again even if they are placed.

        Args:
            keys: the workloads.
            is_urgent: what they are placed by may have ended, so they do not wait for new work.
        """
        keys = list(keys)
        self.reasons.add_redecision(keys)
        self.requeue(keys, is_urgent=is_urgent)

    def _urgency_of(self, workload: Workload | None, *, is_urgent: bool) -> Urgency:
        if workload is None:
            return Urgency()
        created = workload.metadata.creation_timestamp
        return Urgency(
            workload.spec.priority,
            created.timestamp() if created else 0.0,
            self.fair_shares.owner_of(workload.metadata.namespace),
            _level_of(workload, is_urgent=is_urgent),
        )


def _level_of(workload: Workload, *, is_urgent: bool) -> Level:
    """The priority level: work that is placed as its spec asks is only looked at again."""
    groups = workload.status.placement.groups
    if groups and (is_urgent or any(one.violates for one in groups)):
        return "urgent"
    is_gone = workload.metadata.deletion_timestamp is not None
    is_open = is_spec_changed(workload) or is_unplaced(workload.status)
    return "new" if not groups or is_gone or is_open else "recheck"
