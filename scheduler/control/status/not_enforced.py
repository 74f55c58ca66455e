"""Fields that are accepted and not yet acted on, named honestly in the condition NotEnforced.

A test ties this list to the code: whoever makes a field work takes it out here.
"""

from datetime import datetime
from typing import Any

from scheduler.model.decode import NotReadable, decode
from scheduler.model.kinds.fields import Condition, Part
from scheduler.model.kinds.workload import Workload

NOT_ENFORCED: dict[str, str] = {
    "spec.schedule.interruptible": "nothing that runs is paused yet",
    "spec.failover": "replicas of a silent site are kept, and replaced by nobody yet",
}
"""Path → what happens instead."""


def not_enforced(workload: Workload) -> tuple[str, ...]:
    """Paths that this workload sets and that nothing acts on."""
    return tuple(path for path in NOT_ENFORCED if _is_set(workload, path))


def not_enforced_warnings(raw: dict[str, Any]) -> list[str]:
    """What whoever writes this workload should know; nothing of one that does not decode."""
    try:
        workload = decode(raw, allow_unknown=True)
    except NotReadable:
        return []
    if not isinstance(workload, Workload):
        return []
    return [f"{path} is not enforced: {NOT_ENFORCED[path]}" for path in not_enforced(workload)]


def not_enforced_condition(workload: Workload, now: datetime) -> Condition | None:
    """The condition for a workload; None when it sets no such field."""
    paths = not_enforced(workload)
    if not paths:
        return None
    message = "; ".join(f"{path}: {NOT_ENFORCED[path]}" for path in paths)
    return Condition(
        type="NotEnforced",
        status="True",
        reason="AcceptedNotActedOn",
        message=message,
        last_transition_time=now,
    )


def _is_set(workload: Workload, path: str) -> bool:
    value: object = workload
    for step in path.split("."):
        value = getattr(value, step, None)
        if value is None:
            return False
    return value not in (None, (), {}, "") and not (
        isinstance(value, Part)
        and not any(getattr(value, name) for name in value.__struct_fields__)
    )
