"""What a controller wants done: values, carried out elsewhere.

Names of new objects follow from their owner, so that a write repeated after a lost answer meets
its own result (409) and doubles nothing.
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
    """A new object; a taken name counts as done."""

    resource: ApiResource
    body: Object


@dataclass(frozen=True, slots=True)
class Patch:
    """A merge patch; an object that has gone counts as done."""

    resource: ApiResource
    name: NamespacedName
    body: Object
    subresource: str | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """A deletion of exactly this uid.

    Attributes:
        is_immediate: do not wait for a kubelet (grace period 0).
    """

    resource: ApiResource
    name: NamespacedName
    uid: str
    is_immediate: bool = False


@dataclass(frozen=True, slots=True)
class Bind:
    """Puts a pod on a node through `pods/binding`."""

    name: NamespacedName
    uid: str
    node: str


@dataclass(frozen=True, slots=True)
class RecordEvent:
    """An Event about an object, the same one counted once."""

    resource: ApiResource
    name: NamespacedName
    uid: str
    reason: str
    message: str
    component: str


@dataclass(frozen=True, slots=True)
class DeleteIfOrphaned:
    """A dependent whose owners our mirror does not know: if the API agrees, it goes."""

    resource: ApiResource
    name: NamespacedName


Write = Create | Patch | Delete | Bind | RecordEvent | DeleteIfOrphaned


@dataclass(frozen=True, slots=True)
class ControllerPlan:
    """What to do for one key.

    Attributes:
        writes: in this order; the rest is dropped when one fails, and the key comes again.
        requeue_after_seconds: when to look again although nothing changed; None means never.
    """

    writes: list[Write] = field(default_factory=list)
    requeue_after_seconds: float | None = None


NO_CHANGE = ControllerPlan()


def shorter_wait(first: float | None, second: float | None) -> float | None:
    """The earlier of two waits; None is never."""
    if first is None or second is None:
        return second if first is None else first
    return min(first, second)


def merge_conditions(
    current: list[dict[str, Any]],
    wanted: Sequence[tuple[str, bool | None, str, str]],
    now: datetime,
) -> list[dict[str, Any]]:
    """Conditions with the wanted ones set, the others kept.

    Args:
        current: as they stand.
        wanted: (type, whether it holds or None for unknown, reason, message) each.
        now: becomes the transition time of what changes its status.
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
    """A patch of what differs in the status; nothing when nothing does.

    Counters that are absent stand for 0, as the API server leaves zeros out.
    """
    changed = {key: value for key, value in wanted.items() if (current.get(key) or 0) != value}
    changed = {key: value for key, value in changed.items() if value or current.get(key)}
    return [Patch(resource, name, {"status": changed}, "status")] if changed else []
