"""What has to be applied or deleted, and the status of an order, from index and inventory. Pure.

Only the signed index withdraws orders; a missing message never does. Only objects are deleted that
carry both our label and the matching annotation, and that no controller created.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agents.orders.applier import ApplyResult
from agents.orders.inventory import MemberInventory, ObjectIdentity, ObservedObject, identity_of
from agents.orders.journal import ObjectKey
from agents.orders.labels import SYSTEM_NAMESPACE
from agents.orders.readiness import Readiness
from agents.orders.recreations import Recreated
from agents.protocol.bounds import MAX_PODS
from agents.protocol.index import KEPT_AS_IT_IS, IndexEntry
from agents.protocol.status import (
    MAX_DRIFTED,
    MAX_ENDPOINTS,
    DriftedObject,
    JobOutcome,
    NotReadyPods,
    OrderStatus,
    ReportedEndpoint,
)
from agents.protocol.topics import order_token

_MAX_MESSAGE_CHARACTERS = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedOrder:
    """What this process knows of one order that it has tried to apply.

    Attributes:
        digest: digest of the content that was applied last.
        generation: generation of that content.
        object_count: number of objects in that content.
        result: outcome per object; `refresh_readiness` keeps its readiness up to date.
        refusals: why the order is not applied at all; empty if it is.
        retry_at: monotonic seconds at which an order that failed is tried again; None if it did
            not fail.
        waits_for: id of the order that it needs first; "" when it needs none.
        look_at: monotonic seconds at which objects that have drifted, or of which another
            controller has fields, are looked at again: nothing else shows that another writer put
            them back, or that an autoscaler is gone; None if there are none.
    """

    digest: str
    generation: int
    object_count: int
    result: ApplyResult = field(default_factory=ApplyResult)
    refusals: tuple[str, ...] = ()
    retry_at: float | None = None
    waits_for: str = ""
    look_at: float | None = None

    @property
    def identities(self) -> frozenset[ObjectIdentity]:
        """The objects that belong to the order now."""
        return frozenset(self.result.applied_revisions) | self.result.finished_jobs

    def vanished(self, inventory: MemberInventory) -> list[ObjectIdentity]:
        """Objects that were applied, and that something has deleted since."""
        return [
            name
            for name, (uid, _) in self.result.applied_revisions.items()
            if name[:2] in inventory.listed_kinds
            and ((seen := inventory.objects.get(name)) is None or seen.uid != uid)
        ]

    def refresh_readiness(self, inventory: MemberInventory) -> None:
        """Takes over the readiness of the order's objects as the inventory shows it."""
        for name in self.result.applied_revisions:
            observed = inventory.objects.get(name)
            if observed is not None:
                self.result.readiness_by_object[name] = observed.readiness


def needs_apply(
    tracked: TrackedOrder | None, entry: IndexEntry, inventory: MemberInventory, now: float
) -> bool:
    """Whether an order has to be applied: it is new, changed, drifted, or due for a retry."""
    if tracked is None or tracked.digest != entry.digest:
        return True
    if tracked.retry_at is not None:
        return now >= tracked.retry_at
    if tracked.refusals:
        return False
    if tracked.look_at is not None and now >= tracked.look_at:
        return True
    return any(
        has_drifted(revision, inventory.objects.get(name))
        for name, revision in tracked.result.applied_revisions.items()
        if name[:2] in inventory.listed_kinds
    )


def find_unmet_need(
    needs: Iterable[str],
    listed: Mapping[str, IndexEntry],
    tracked: Mapping[str, TrackedOrder],
) -> str:
    """The first order of these that is not applied as the index lists it; "" when all are.

    One that the index does not list is not there at the hub, and pods start without it.

    Args:
        needs: order ids.
        listed: entries of the index, by order id.
        tracked: orders by token that this process has tried to apply.
    """
    for order_id in needs:
        entry, known = listed.get(order_id), tracked.get(order_token(order_id))
        if entry is None or entry.digest == KEPT_AS_IT_IS:
            continue
        if known is None or known.digest != entry.digest or known.refusals:
            return order_id
        if not known.result.is_complete or known.waits_for:
            return order_id
    return ""


def waiting_order(
    entry: IndexEntry, needed: str, needed_order: TrackedOrder | None, before: TrackedOrder | None
) -> TrackedOrder:
    """An order that waits for another one; what runs of it stays and is counted.

    Args:
        entry: its entry in the index.
        needed: id of the order that it waits for.
        needed_order: what this process knows of that one.
        before: what it knows of the order that waits.
    """
    result = kept_result(before)
    result.add_error(_format_need(needed, needed_order), is_retryable=True)
    return TrackedOrder(
        digest=entry.digest,
        generation=entry.generation,
        object_count=before.object_count if before else 0,
        result=result,
        waits_for=needed,
    )


def kept_result(before: TrackedOrder | None) -> ApplyResult:
    """What runs of an order of which nothing was applied now, so that it is counted."""
    former = before.result if before else ApplyResult()
    return ApplyResult(
        applied_revisions=dict(former.applied_revisions),
        readiness_by_object=dict(former.readiness_by_object),
        finished_jobs=set(former.finished_jobs),
        drifted=dict(former.drifted),
    )


def _format_need(order_id: str, order: TrackedOrder | None) -> str:
    _, namespace, name = order_id.split("/", 3)[:3] if order_id.count("/") > 1 else ("", "", "")
    kind, _, name = name.partition(":")
    text = f"waits for {kind} {namespace}/{name}"
    found = order.result.conflicts + order.result.errors if order else []
    problems = (*order.refusals, *found) if order else ()
    return f"{text}: {'; '.join(problems)}" if problems else text


def has_drifted(applied_revision: tuple[str, str], observed: ObservedObject | None) -> bool:
    """Whether an object is missing, was created again, or has been changed since it was applied."""
    return observed is None or (
        not observed.is_terminating and (observed.uid, observed.revision) != applied_revision
    )


def find_surplus(
    inventory: MemberInventory,
    tracked: Mapping[str, TrackedOrder],
    desired_tokens: frozenset[str],
    kept: frozenset[ObjectIdentity] = frozenset(),
) -> list[ObservedObject]:
    """Our objects that no order asks for any more.

    Args:
        inventory: our objects at the member.
        tracked: orders by token that this process has tried to apply.
        desired_tokens: tokens of all orders that the index lists.
        kept: objects that stay although nothing asks for them.
    """
    return [
        observed
        for name, observed in inventory.objects.items()
        if observed.order_id is not None
        and name not in kept
        and not observed.is_terminating
        and _is_surplus(observed, tracked, desired_tokens)
    ]


def _is_surplus(
    observed: ObservedObject, tracked: Mapping[str, TrackedOrder], desired_tokens: frozenset[str]
) -> bool:
    if observed.token not in desired_tokens:
        return True
    order = tracked.get(observed.token)
    if (
        order is None
        or not order.result.is_complete
        or order.refusals
        or order.retry_at is not None
    ):
        return False  # keep it until what replaces it is applied completely
    return identity_of(observed.key) not in order.identities


def namespaces_needed(
    entries: Iterable[IndexEntry],
    created: Mapping[str, Iterable[ObjectKey]],
    inventory: MemberInventory,
) -> frozenset[str]:
    """Names of the namespaces that something of ours is in, will be in, or may still be in.

    Args:
        entries: the orders that the index lists.
        created: the objects that the agent created, by order id, withdrawn ones too.
        inventory: our objects at the member.
    """
    # The second part of an order id is the namespace of its workload.
    own = {entry.id.split("/")[1] for entry in entries if entry.id.count("/") > 1}
    made = {key.namespace for keys in created.values() for key in keys}
    here = {observed.key.namespace for observed in inventory.objects.values()}
    return frozenset(own | made | here | {SYSTEM_NAMESPACE})


def order_status_of(
    entry: IndexEntry,
    tracked: TrackedOrder | None,
    *,
    bound_pods: int | None,
    applied_generation: int | None,
    recreated: Recreated | None = None,
    pod_problem: str = "",
    not_ready: tuple[NotReadyPods, ...] | None = None,
) -> OrderStatus:
    """The status of one order that the index lists.

    Args:
        entry: the order's entry in the index.
        tracked: what this process knows of it; None if it has not tried to apply it.
        bound_pods: number of its bound pods; None if unknown.
        applied_generation: newest generation that was applied completely; None if none was.
        recreated: that its objects are deleted again and again; None if they are not.
        pod_problem: what keeps one of its pods from running; empty if nothing is known.
        not_ready: its pods that are not ready; None if all are, or if that is not known.
    """
    if tracked is None or tracked.digest != entry.digest:
        return OrderStatus(
            id=entry.id,
            generation=entry.generation,
            phase="Fetching",
            bound=bound_pods,
            applied_generation=applied_generation,
        )
    object_readiness = list(tracked.result.readiness_by_object.values())
    phase, message = _phase_of(tracked, object_readiness)
    if recreated is not None:
        message = _joined(recreated.message, message)
    if phase == "Applied":
        message = _joined(message, pod_problem)
    return OrderStatus(
        id=entry.id,
        generation=entry.generation,
        phase=phase,
        objects=tracked.object_count,
        applied=len(tracked.identities),
        desired=_sum_known(each.desired for each in object_readiness),
        ready=_sum_known(each.ready for each in object_readiness),
        succeeded=_sum_known(each.succeeded for each in object_readiness),
        bound=bound_pods,
        finished=_combined_outcome(object_readiness) if phase == "Finished" else None,
        applied_generation=applied_generation,
        message=message[:_MAX_MESSAGE_CHARACTERS] if message else None,
        recreated=recreated.count if recreated else None,
        not_run=len(tracked.result.not_run) or None,
        not_ready=not_ready if phase == "Applied" else None,
        endpoints=_endpoints_of(object_readiness) or None,
        drifted=_drifted_objects(tracked.result) or None,
    )


def _drifted_objects(result: ApplyResult) -> tuple[DriftedObject, ...]:
    return tuple(
        DriftedObject(kind=kind, name=name, namespace=namespace or None, fields=fields)
        for (_, kind, namespace, name), fields in sorted(result.drifted.items())[:MAX_DRIFTED]
    )


def _endpoints_of(object_readiness: list[Readiness]) -> tuple[ReportedEndpoint, ...]:
    """Where the order is reachable, in a fixed order, up to the bound."""
    counts = [each.ready for each in object_readiness if each.desired is not None]
    is_ready = not counts or bool(_sum_known(counts))
    found = {one for each in object_readiness for one in each.addresses}
    return tuple(
        ReportedEndpoint(address=one.address, port=one.port, ready=is_ready, host=one.host or None)
        for one in sorted(found)[:MAX_ENDPOINTS]
    )


def _phase_of(tracked: TrackedOrder, object_readiness: list[Readiness]) -> tuple[str, str | None]:
    applied = tracked.result
    if tracked.refusals:
        return "Refused", "; ".join(tracked.refusals)
    if applied.conflicts:
        return "Conflict", "; ".join(applied.conflicts + applied.errors)
    if applied.errors:
        return "Applying" if applied.is_retryable else "Failed", "; ".join(applied.errors)
    message = next((each.message for each in object_readiness if each.message), None)
    message = _joined(_format_not_run(applied), message, *applied.yielded)
    if _is_all_finished(applied, object_readiness):
        return "Finished", message
    running = [each for each in object_readiness if each.finished is None]
    return "Ready" if all(each.is_ready for each in running) else "Applied", message


def _joined(*texts: str | None) -> str | None:
    return "; ".join(text for text in texts if text) or None


def _format_not_run(result: ApplyResult) -> str:
    if not result.not_run:
        return ""
    named = ", ".join(f"{kind} {name}" for _, kind, _, name in sorted(result.not_run)[:3])
    return (
        f"{named} has run to its end and was changed since; the change is not run, because a job "
        "runs once: give the new one another name"
    )


def _is_all_finished(result: ApplyResult, object_readiness: list[Readiness]) -> bool:
    """Whether the order has jobs, all have ended, and it has no other pods."""
    has_ended = bool(result.finished_jobs) or any(each.finished for each in object_readiness)
    return has_ended and all(
        each.finished is not None for each in object_readiness if each.desired is not None
    )


def _combined_outcome(object_readiness: list[Readiness]) -> JobOutcome | None:
    """The outcome of all jobs together; None if no job's outcome is known."""
    outcomes = {each.finished for each in object_readiness if each.finished}
    if not outcomes:
        return None
    return "Failed" if "Failed" in outcomes else "Succeeded"


def _sum_known(numbers: Iterable[int | None]) -> int | None:
    known = [number for number in numbers if number is not None and number >= 0]
    # The hub would refuse the whole status for one number out of bounds.
    return min(sum(known), MAX_PODS) if known else None
