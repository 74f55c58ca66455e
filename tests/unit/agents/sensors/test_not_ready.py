"""Pods that are not ready: the class of the reason, and for how long."""

from typing import Any

import pytest

from agents.protocol.orders import ORDER_ID_ANNOTATION, ORDER_LABEL
from agents.protocol.status import MAX_NOT_READY, NotReadyPods
from agents.protocol.topics import order_token
from agents.sensors.not_ready import (
    NotReadyPod,
    NotReadySpells,
    is_lost_node,
    not_ready_pod_of,
)

ORDER = "hub/ns/app/i1"


def pod(*containers: dict[str, Any], node: str = "n1", **status: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "metadata": {
            "name": "app-1",
            "uid": "u1",
            "labels": {ORDER_LABEL: order_token(ORDER)},
            "annotations": {ORDER_ID_ANNOTATION: ORDER},
        },
        "spec": {"nodeName": node} if node else {},
        "status": {"phase": "Running", "containerStatuses": list(containers), **status},
    }


def waiting(reason: str) -> dict[str, Any]:
    return {"name": "app", "ready": False, "state": {"waiting": {"reason": reason}}}


RUNNING = {"name": "app", "ready": False, "restartCount": 0, "state": {"running": {}}}
CRASHED = {**RUNNING, "restartCount": 3, "lastState": {"terminated": {"exitCode": 1}}}
UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
GATED = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (pod(waiting("CrashLoopBackOff")), "crash-loop"),
        (pod(CRASHED), "crash-loop"),
        (pod({**CRASHED, "ready": True}, RUNNING), "probe"),
        (pod(waiting("ImagePullBackOff")), "image-pull"),
        (pod(RUNNING, initContainerStatuses=[waiting("ErrImagePull")]), "image-pull"),
        (pod(node="", phase="Pending", conditions=[UNSCHEDULABLE]), "pending-unschedulable"),
        (pod(node="", phase="Pending", conditions=[GATED]), "other"),
        (pod(node="", phase="Pending"), "other"),
        (pod(RUNNING), "probe"),
        (pod(waiting("ContainerCreating")), "other"),
        (pod(waiting("CreateContainerConfigError")), "other"),
        (pod(RUNNING, node="n2"), "node-lost"),
        (pod(RUNNING, node="gone"), "node-lost"),
    ],
)
def test_each_pod_that_is_not_ready_has_a_class_of_reason(one: dict[str, Any], reason: str) -> None:
    found = not_ready_pod_of(one, known_nodes={"n1", "n2"}, lost_nodes={"n2"})
    assert found == NotReadyPod("u1", ORDER, reason)  # type: ignore[arg-type]


def test_pods_that_are_ready_ended_being_deleted_or_of_others_are_left_out() -> None:
    ready = pod(RUNNING, conditions=[{"type": "Ready", "status": "True"}])
    ended, deleted, other = pod(phase="Succeeded"), pod(RUNNING), pod(RUNNING)
    deleted["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    other["metadata"]["labels"] = {}
    for one in (ready, ended, deleted, other, {}, {"status": {"phase": 7}, "spec": []}):
        assert not_ready_pod_of(one, known_nodes={"n1"}, lost_nodes=()) is None


def test_a_node_that_does_not_say_ready_is_lost() -> None:
    assert is_lost_node({})
    assert is_lost_node({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}})
    assert not is_lost_node({"status": {"conditions": [{"type": "Ready", "status": "True"}]}})


def test_the_time_is_that_of_each_pod_and_survives_moments_of_readiness() -> None:
    spells = NotReadySpells()
    first, second = (NotReadyPod(uid, ORDER, "crash-loop") for uid in ("a", "b"))
    spells.update([first], 1_000.0)
    assert spells.update([], 1_060.0) == {}
    found = spells.update([first, second], 1_115.0)
    assert found[ORDER] == (
        NotReadyPods(reason="crash-loop", pods=1, seconds=60),
        NotReadyPods(reason="crash-loop", pods=1, seconds=0),
    )
    spells.update([], 1_300.0)
    assert spells.update([first], 1_301.0)[ORDER][0].seconds == 0


def test_of_many_entries_those_of_the_longest_time_are_said() -> None:
    spells, pods = NotReadySpells(), list[NotReadyPod]()
    for minute in range(MAX_NOT_READY + 4):
        pods.append(NotReadyPod(str(minute), ORDER, "probe"))
        spells.update(pods, 60.0 * minute)
    found = spells.update(pods, 60.0 * (MAX_NOT_READY + 4))
    assert len(found[ORDER]) == MAX_NOT_READY
    assert found[ORDER][0].seconds == 60 * (MAX_NOT_READY + 4)
