"""Fields of manifests that are not applied, because another cluster wrote them: FieldsRemoved.

The embedded hub also warns the client; with another hub the condition says it.
"""

from datetime import datetime
from typing import Any

from scheduler.model.decode import NotReadable, decode
from scheduler.model.formatters import format_list
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.workload import Workload
from scheduler.model.manifests.cleaning import clean_manifests

FIELDS_REMOVED = "FieldsRemoved"
_MAX_LISTED = 12
_MEANING = "a cluster wrote it, and it means nothing at another; leave it out"


def removed_fields_condition(workload: Workload, now: datetime) -> Condition | None:
    """The condition FieldsRemoved of a workload; None when nothing is removed."""
    _, paths = clean_manifests(workload.spec.manifests)
    if not paths:
        return None
    return Condition(
        type=FIELDS_REMOVED,
        status="True",
        reason="WrittenByAnotherCluster",
        message=f"not applied: {format_list(list(paths), _MAX_LISTED)}"[:1024],
        last_transition_time=now,
    )


def removed_fields_warnings(raw: dict[str, Any]) -> list[str]:
    """The warnings for a client that writes a workload; none when it does not decode."""
    try:
        workload = decode(raw, allow_unknown=True)
    except NotReadable:
        return []
    if not isinstance(workload, Workload):
        return []
    _, paths = clean_manifests(workload.spec.manifests)
    found = [f"{path} is not applied: {_MEANING}" for path in paths[:_MAX_LISTED]]
    if len(paths) > _MAX_LISTED:
        found.append(f"{len(paths) - _MAX_LISTED} more fields of spec.manifests are not applied")
    return found
