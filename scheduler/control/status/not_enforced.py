"""Fields that are accepted and not acted on yet, listed in the condition NotEnforced.

A test ties the list to the code: a change that makes a field work removes it here.
"""

from datetime import datetime
from typing import Any

from scheduler.model.decode import NotReadable, decode
from scheduler.model.kinds.fields import Condition, Part
from scheduler.model.kinds.workload import Workload

NOT_ENFORCED: dict[str, str] = {
    "spec.schedule.interruptible": "running work is never paused yet",
    "spec.failover": "replicas of a silent site are kept, and not replaced yet",
}
"""What happens instead, by the path of the field."""


def not_enforced(workload: Workload) -> tuple[str, ...]:
    """Paths of fields that a workload sets and nothing acts on."""
    return tuple(path for path in NOT_ENFORCED if _is_set(workload, path))


def not_enforced_warnings(raw: dict[str, Any]) -> list[str]:
    """The warnings for a client that writes a workload; none when it does not decode."""
    try:
        workload = decode(raw, allow_unknown=True)
    except NotReadable:
        return []
    if not isinstance(workload, Workload):
        return []
    return [f"{path} is not enforced: {NOT_ENFORCED[path]}" for path in not_enforced(workload)]


def not_enforced_condition(workload: Workload, now: datetime) -> Condition | None:
    """The condition NotEnforced of a workload; None when it sets no such field."""
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
