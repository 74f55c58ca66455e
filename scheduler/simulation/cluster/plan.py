"""The plans of controllers: writes as values, which `effects` carries out.

Names of new objects follow from their owner. So a write that is repeated after a lost answer finds
its own result (409 Conflict), and creates no second object.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from scheduler.control.ports.hub import ApiResource, Object
from scheduler.model.formatters import format_rfc3339
from scheduler.simulation.cluster.mirror import NamespacedName


@dataclass(frozen=True, slots=True)
class Create:
    """Creates an object; it counts as done if the object exists with the same owners."""

    resource: ApiResource
    body: Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """Applies a merge patch; it counts as done if the object is gone."""

    resource: ApiResource
    name: NamespacedName
    body: Object
    subresource: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Deletes the object with exactly this uid.

    Attributes:
        resource: its resource.
        name: its namespace and name.
        uid: its uid; another object of the same name is not deleted.
        is_immediate: whether to use grace period 0, which does not wait for a kubelet.
    """

    resource: ApiResource
    name: NamespacedName
    uid: str
    is_immediate: bool = False


@dataclass(frozen=True, slots=True)
class Bind:
    """Binds a pod to a node through `pods/binding`."""

    name: NamespacedName
    uid: str
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordEvent:
    """Records an Event about an object; an equal Event is recorded once."""

    resource: ApiResource
    name: NamespacedName
    uid: str
    reason: str
    message: str
    component: str


@dataclass(frozen=True, slots=True)
class DeleteIfOrphaned:
    """Deletes an object whose owners the mirror does not know, if the API knows none either."""

    resource: ApiResource
    name: NamespacedName


Write = Create | Patch | Delete | Bind | RecordEvent | DeleteIfOrphaned


@dataclass(frozen=True, slots=True)
class ControllerPlan:
    """The plan for one key.

    Attributes:
        writes: writes in order; when one fails, the rest is dropped and the key is retried.
        requeue_after_seconds: when to plan again even if nothing changes; None: never.
    """

    writes: list[Write] = field(default_factory=list)
    requeue_after_seconds: float | None = None


NO_CHANGE = ControllerPlan()


def shorter_wait(first: float | None, second: float | None) -> float | None:
    """The shorter of two waits; None: never."""
    if first is None or second is None:
        return second if first is None else first
    return min(first, second)


def merge_conditions(
    current: list[dict[str, Any]],
    wanted: Sequence[tuple[str, bool | None, str, str]],
    now: datetime,
) -> list[dict[str, Any]]:
    """Sets conditions, and keeps the others.

    Args:
        current: the current conditions.
        wanted: type, status (None: Unknown), reason and message of each condition to set.
        now: transition time of conditions that change their status.
    """
    result = {condition.get("type"): condition for condition in current}
    for kind, holds, reason, message in wanted:
        before = result.get(kind, {})
        status = "Unknown" if holds is None else str(holds)
        since = before.get("lastTransitionTime") if before.get("status") == status else None
        entry = {
            "type": kind,
            "status": status,
            "lastTransitionTime": since or format_rfc3339(now),
        }
        entry |= {key: text for key, text in (("reason", reason), ("message", message)) if text}
        same = all(before.get(key) == text for key, text in entry.items())
        result[kind] = before if same else {**before, **entry}
    return list(result.values())


def status_patch(
    resource: ApiResource, name: NamespacedName, current: dict[str, Any], wanted: dict[str, Any]
) -> list[Write]:
    """A patch of the status fields that differ; empty if none does.

    A missing counter means 0, since the API server leaves zeros out.
    """
    changed = {key: value for key, value in wanted.items() if (current.get(key) or 0) != value}
    changed = {key: value for key, value in changed.items() if value or current.get(key)}
    return (
        [Patch(resource=resource, name=name, body={"status": changed}, subresource="status")]
        if changed
        else []
    )
