"""Holds back writes that say only how many replicas are ready, so that a burst is one write.

Sites report as their pods become ready, one after the other; each report changes the status. A
decision, a phase, a condition or a placement is written at once, and takes what is held along.
"""

from dataclasses import dataclass, field

import msgspec

from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import WorkloadStatus
from scheduler.runtime.clock import Clock

_HEALTH_FIELDS = ("ready", "readiness", "reason", "exceptions")


@dataclass(slots=True, kw_only=True)
class HealthPauses:
    """Says how long a write of a status waits for the next reports.

    Attributes:
        clock: measures the pauses.
        pause_seconds: so long a change is held at most, from its first report on.
    """

    clock: Clock
    pause_seconds: float = 1.0
    _since_seconds: dict[WorkKey, float] = field(default_factory=dict)

    def hold(self, key: WorkKey, before: WorkloadStatus, after: WorkloadStatus) -> float:
        """Seconds for which a write is held; 0: it is written now.

        Args:
            key: namespace and name.
            before: the status as it is written.
            after: the status to write.
        """
        if not is_health_only(before, after):
            self._since_seconds.pop(key, None)
            return 0.0
        now = self.clock.monotonic()
        left = self._since_seconds.setdefault(key, now) + self.pause_seconds - now
        if left <= 0:
            del self._since_seconds[key]
        return max(0.0, left)

    def forget(self, key: WorkKey) -> None:
        """Forgets a workload that is gone."""
        self._since_seconds.pop(key, None)


def is_health_only(before: WorkloadStatus, after: WorkloadStatus) -> bool:
    """Whether two statuses differ, and only in what sites report of running replicas."""
    if any(getattr(before, name) != getattr(after, name) for name in _OTHER_FIELDS):
        return False
    if _states_of(before) != _states_of(after):
        return False
    compared = (*_HEALTH_FIELDS, "conditions")
    return any(getattr(before, name) != getattr(after, name) for name in compared)


def _states_of(status: WorkloadStatus) -> dict[str, str]:
    """The state of each condition, without its text."""
    return {one.type: one.status for one in status.conditions}


# The epoch alone is no difference: nothing is written because another leader has begun.
_OTHER_FIELDS = tuple(
    one.name
    for one in msgspec.structs.fields(WorkloadStatus)
    if one.name not in (*_HEALTH_FIELDS, "conditions", "epoch")
)
