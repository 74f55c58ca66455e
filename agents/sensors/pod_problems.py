"""What keeps a pod from running, in the words of its cluster. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from agents.member.trees import map_at, message_at, objects_at, text_at
from agents.protocol.orders import ORDER_ID_ANNOTATION, ORDER_LABEL
from agents.protocol.topics import is_order_id, order_token

Tree = Mapping[str, Any]

_MAX_TEXT: Final = 300
_HARMLESS_REASONS: Final = frozenset({"ContainerCreating", "PodInitializing", ""})
"""Reasons of every start; all others (ErrImagePull, CrashLoopBackOff, …) name a problem."""


def pod_problem_of(pod: Tree) -> tuple[str, str] | None:
    """The order of a pod that cannot run now, and why; None for every other pod."""
    status, order_id = map_at(pod, "status"), order_of_pod(pod)
    why = ""
    if order_id:
        why = _unschedulable(status) or _unseen(pod) or _waiting_container(status)
    name = text_at(map_at(pod, "metadata"), "name")[:100]
    return (order_id, f"Pod {name}: {why}") if why else None


def unschedulable_order_of(pod: Tree) -> str:
    """The order of a pod for which the cluster's scheduler found no node; "" for every other pod.

    A pod that is gated, or that no scheduler has tried, may find one.
    """
    if map_at(pod, "spec").get("nodeName"):
        return ""
    found = any(
        each.get("type") == "PodScheduled"
        and each.get("status") == "False"
        and each.get("reason") == "Unschedulable"
        for each in objects_at(map_at(pod, "status"), "conditions")
    )
    return order_of_pod(pod) if found else ""


def order_of_pod(pod: Tree) -> str:
    """The order of a pod that is not being deleted; "" if it has none."""
    metadata = map_at(pod, "metadata")
    order_id = text_at(map_at(metadata, "annotations"), ORDER_ID_ANNOTATION)
    token = text_at(map_at(metadata, "labels"), ORDER_LABEL)
    if not token or not is_order_id(order_id) or order_token(order_id) != token:
        return ""
    return "" if metadata.get("deletionTimestamp") else order_id


def _unschedulable(status: Tree) -> str:
    for each in objects_at(status, "conditions"):
        if each.get("type") == "PodScheduled" and each.get("status") == "False":
            words = message_at(each, "message", _MAX_TEXT) or message_at(each, "reason", _MAX_TEXT)
            return f"FailedScheduling: {words}"
    return ""


def _unseen(pod: Tree) -> str:
    """Why no scheduler has looked at a pod, if another one than Kubernetes' own is to do so."""
    spec, status = map_at(pod, "spec"), map_at(pod, "status")
    if text_at(spec, "nodeName") or text_at(status, "phase") not in ("", "Pending"):
        return ""
    if any(each.get("type") == "PodScheduled" for each in objects_at(status, "conditions")):
        return ""
    gates = [text_at(each, "name")[:100] for each in objects_at(spec, "schedulingGates")]
    if gates:
        return f"SchedulingGated: waits until {', '.join(gates[:5])} is removed"
    name = text_at(spec, "schedulerName")[:100]
    if name in ("", "default-scheduler"):
        return ""
    return f"FailedScheduling: no scheduler {name} has looked at it"


def _waiting_container(status: Tree) -> str:
    for each in (
        *objects_at(status, "initContainerStatuses"),
        *objects_at(status, "containerStatuses"),
    ):
        waiting = map_at(each, "state", "waiting")
        reason = message_at(waiting, "reason", 64)
        if reason not in _HARMLESS_REASONS:
            words = message_at(waiting, "message", _MAX_TEXT)
            name = text_at(each, "name")[:63]
            return f"container {name}: {reason}" + (f": {words}" if words else "")
    return ""
