"""Which pods of orders are not ready, of which class the reason is, and for how long."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from agents.member.trees import integer_at, map_at, objects_at, text_at
from agents.protocol.status import MAX_NOT_READY, NotReadyPods, NotReadyReason
from agents.sensors.pod_problems import order_of_pod

Tree = Mapping[str, Any]

_IMAGE_REASONS: Final = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
_CRASH_REASONS: Final = frozenset(
    {"CrashLoopBackOff", "RunContainerError", "StartError", "PostStartHookError"}
)
_ENDED_PHASES: Final = frozenset({"Succeeded", "Failed"})
_STEP_SECONDS: Final = 60
_MAX_SECONDS: Final = 86_400
_FORGET_SECONDS: Final = 120.0
"""A pod that is ready for less than this time between two failures counts as not ready."""
_MAX_PODS: Final = 20_000


@dataclass(frozen=True, slots=True)
class NotReadyPod:
    """A pod that is not ready.

    Attributes:
        uid: uid of the pod.
        order_id: id of its order.
        reason: the class of the reason.
    """

    uid: str
    order_id: str
    reason: NotReadyReason


def not_ready_pod_of(
    pod: Tree, *, known_nodes: Collection[str], lost_nodes: Collection[str]
) -> NotReadyPod | None:
    """The pod, if it belongs to an order, is not being deleted, has not ended and is not ready.

    Args:
        pod: the pod.
        known_nodes: names of all nodes.
        lost_nodes: names of the nodes that are not ready.
    """
    waiting, node = waiting_pod_of(pod), text_at(map_at(pod, "spec"), "nodeName")
    if waiting and node and (node in lost_nodes or node not in known_nodes):
        return replace(waiting, reason="node-lost")
    return waiting


def waiting_pod_of(pod: Tree) -> NotReadyPod | None:
    """The same for a pod whose node, if it has one, is ready."""
    order_id, status = order_of_pod(pod), map_at(pod, "status")
    if not order_id or text_at(status, "phase") in _ENDED_PHASES:
        return None
    if _condition(status, "Ready").get("status") == "True":
        return None
    has_node = text_at(map_at(pod, "spec"), "nodeName")
    reason = _reason_of_containers(status) if has_node else _reason_without_node(status)
    return NotReadyPod(text_at(map_at(pod, "metadata"), "uid")[:64], order_id, reason)


def is_lost_node(node: Tree) -> bool:
    """Whether a node is not ready, so that its pods are not reached."""
    return _condition(map_at(node, "status"), "Ready").get("status") != "True"


def _reason_without_node(status: Tree) -> NotReadyReason:
    """Gated pods wait for their gates to be removed, and new ones for their first attempt."""
    scheduled = _condition(status, "PodScheduled")
    is_refused = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    return "pending-unschedulable" if is_refused else "other"


def _reason_of_containers(status: Tree) -> NotReadyReason:
    containers = [
        *objects_at(status, "initContainerStatuses"),
        *objects_at(status, "containerStatuses"),
    ]
    waiting = {text_at(map_at(each, "state", "waiting"), "reason") for each in containers}
    if waiting & _IMAGE_REASONS:
        return "image-pull"
    if waiting & _CRASH_REASONS or any(_has_crashed(each) for each in containers):
        return "crash-loop"
    main = objects_at(status, "containerStatuses")
    if main and all("running" in map_at(each, "state") for each in main):
        return "probe"
    return "other"


def _has_crashed(container: Tree) -> bool:
    """Whether a container that is not ready was started again after it had ended."""
    if container.get("ready"):
        return False
    ended = map_at(container, "lastState", "terminated") or map_at(container, "state", "terminated")
    return bool(ended) and integer_at(container, "restartCount", 0) > 0


def _condition(status: Tree, kind: str) -> Tree:
    found = (each for each in objects_at(status, "conditions") if each.get("type") == kind)
    return next(found, {})


@dataclass(slots=True)
class _Spell:
    since_seconds: float
    seen_seconds: float


@dataclass(slots=True)
class NotReadySpells:
    """Since when each pod is not ready, by the agent's own monotonic clock.

    A start of the agent begins again: it reports a shorter time then, never a longer one.
    """

    _spells: dict[str, _Spell] = field(default_factory=dict)

    def update(
        self, pods: Iterable[NotReadyPod], now_seconds: float
    ) -> dict[str, tuple[NotReadyPods, ...]]:
        """What the status says of each order, after an observation of all pods.

        Pods of one order, one reason and the same full minute are one entry; of more entries than
        the protocol allows, those of the shortest time are left out.
        """
        counts: dict[str, Counter[tuple[NotReadyReason, int]]] = {}
        for pod in pods:
            spell = self._spells.get(pod.uid)
            if spell is None:
                if len(self._spells) >= _MAX_PODS:
                    continue
                spell = self._spells[pod.uid] = _Spell(now_seconds, now_seconds)
            spell.seen_seconds = now_seconds
            lasted = min(max(0, int(now_seconds - spell.since_seconds)), _MAX_SECONDS)
            step = lasted - lasted % _STEP_SECONDS
            counts.setdefault(pod.order_id, Counter())[pod.reason, step] += 1
        old = now_seconds - _FORGET_SECONDS
        self._spells = {uid: one for uid, one in self._spells.items() if one.seen_seconds > old}
        return {order_id: _entries(found) for order_id, found in counts.items()}


def _entries(found: Counter[tuple[NotReadyReason, int]]) -> tuple[NotReadyPods, ...]:
    longest_first = sorted(found.items(), key=lambda each: (-each[0][1], each[0][0]))
    return tuple(
        NotReadyPods(reason=reason, pods=pods, seconds=seconds)
        for (reason, seconds), pods in longest_first[:MAX_NOT_READY]
    )
