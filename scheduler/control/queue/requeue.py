"""Which placed workloads are to be decided on again though nobody changed them, and when.

Nothing of this is kept on disk: after a start all that runs is decided on again.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from scheduler.control.queue.timers import TimerQueue
from scheduler.model.kinds.metadata import WorkKey


@dataclass(frozen=True, slots=True)
class RequeueReason:
    """What is wanted of one look at a workload.

    Attributes:
        needs_redecision: a rule, a site or the time may bear on what runs.
        is_policy_changed: its policy has changed.
    """

    needs_redecision: bool = False
    is_policy_changed: bool = False


@dataclass(slots=True)
class RequeueReasons:
    """Kept until a look is done; what comes during a look is for the next one."""

    _needs_redecision: set[WorkKey] = field(default_factory=set)
    _policy_changed: set[WorkKey] = field(default_factory=set)
    _timers: TimerQueue = field(default_factory=TimerQueue)

    def add_redecision(self, keys: Iterable[WorkKey]) -> None:
        """Something may bear on what runs of these."""
        self._needs_redecision.update(keys)

    def add_policy_change(self, keys: Iterable[WorkKey]) -> None:
        """The policy of these has changed."""
        self._policy_changed.update(keys)

    def set_timer(self, key: WorkKey, at: datetime | None) -> None:
        """The passing of time may bear on what runs of it then; None: at no time."""
        if at is None:
            self._timers.drop(key)
        else:
            self._timers.set(key, at.timestamp())

    def pop_due(self, now: datetime) -> list[WorkKey]:
        """Takes out the workloads whose alarm has come."""
        return list(self._timers.pop_due(now.timestamp()))

    def take(self, key: WorkKey) -> RequeueReason:
        """A look begins."""
        wish = RequeueReason(key in self._needs_redecision, key in self._policy_changed)
        self._needs_redecision.discard(key)
        self._policy_changed.discard(key)
        return wish

    def restore(self, key: WorkKey, reason: RequeueReason) -> None:
        """The look came to nothing."""
        if reason.needs_redecision:
            self._needs_redecision.add(key)
        if reason.is_policy_changed:
            self._policy_changed.add(key)

    def forget(self, key: WorkKey) -> None:
        """The workload is gone."""
        self.take(key)
        self._timers.drop(key)
