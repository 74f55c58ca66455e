"""A pod of an order, reduced to what an answer says of it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from agents.member.trees import integer_at, map_at, message_at, objects_at, text_at
from agents.protocol.diagnosis.answer import MAX_SENTENCE_CHARACTERS, PodAnswer
from agents.protocol.orders import ORDER_ID_ANNOTATION
from agents.sensors.pod_problems import pod_problem_of

Tree = Mapping[str, Any]

_MAX_NAME, _MAX_CONTAINER, _MAX_WORD = 253, 63, 128
_MAX_CONTAINERS: Final = 32


@dataclass(frozen=True, slots=True)
class PodView:
    """A pod of the order.

    Attributes:
        namespace: its namespace.
        uid: its uid.
        answer: what is said of it.
        containers: names of its containers; those that are run before the others come first.
    """

    namespace: str
    uid: str
    answer: PodAnswer
    containers: tuple[str, ...]


def pod_view_of(pod: Tree, *, order_id: str, namespace: str) -> PodView | None:
    """A pod that was listed by the order's label; None if it names another order."""
    metadata, spec, status = (map_at(pod, name) for name in ("metadata", "spec", "status"))
    if text_at(map_at(metadata, "annotations"), ORDER_ID_ANNOTATION) != order_id:
        return None
    phase = text_at(status, "phase")[:_MAX_WORD] or "Unknown"
    is_ready = any(
        each.get("type") == "Ready" and each.get("status") == "True"
        for each in objects_at(status, "conditions")
    )
    states = [
        *objects_at(status, "initContainerStatuses"),
        *objects_at(status, "containerStatuses"),
    ]
    reason, message = ("", "") if is_ready or phase == "Succeeded" else _why_not_ready(pod, states)
    answer = PodAnswer(
        name=text_at(metadata, "name")[:_MAX_NAME],
        phase=phase,
        is_ready=is_ready,
        restarts=sum(max(0, integer_at(each, "restartCount", 0)) for each in states),
        node=text_at(spec, "nodeName")[:_MAX_NAME] or None,
        reason=reason[:_MAX_WORD] or None,
        message=message[:MAX_SENTENCE_CHARACTERS] or None,
    )
    names = [
        text_at(each, "name")[:_MAX_CONTAINER]
        for kind in ("initContainers", "containers")
        for each in objects_at(spec, kind)
    ]
    containers = tuple(filter(None, names[:_MAX_CONTAINERS]))
    return PodView(namespace, text_at(metadata, "uid"), answer, containers)


def _why_not_ready(pod: Tree, states: list[dict[str, Any]]) -> tuple[str, str]:
    """Why a pod is not ready: in one word, and as a sentence; empty if nothing says."""
    status = map_at(pod, "status")
    problem = pod_problem_of(pod)
    sentence = problem[1].partition(": ")[2] if problem else ""
    if map_at(pod, "metadata").get("deletionTimestamp"):
        return "Terminating", sentence
    for each in objects_at(status, "conditions"):
        if each.get("type") == "PodScheduled" and each.get("status") == "False":
            return message_at(each, "reason", _MAX_WORD) or "Unschedulable", sentence
    for kind in ("waiting", "terminated"):
        for each in states:
            state = map_at(each, "state", kind)
            reason = message_at(state, "reason", _MAX_WORD)
            if reason and reason != "Completed":
                words = message_at(state, "message", MAX_SENTENCE_CHARACTERS)
                return reason, sentence or words
    word = message_at(status, "reason", _MAX_WORD)
    return word, sentence or message_at(status, "message", MAX_SENTENCE_CHARACTERS)
