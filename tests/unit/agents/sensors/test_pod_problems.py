"""What keeps a pod from running, in the words of its cluster."""

from typing import Any

import pytest

from agents.protocol.orders import ORDER_ID_ANNOTATION, ORDER_LABEL
from agents.protocol.topics import order_token
from agents.sensors.pod_problems import pod_problem_of

ORDER = "hub/a/b/1"


def pod(**status: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    metadata = {
        "name": "web-1",
        "labels": {ORDER_LABEL: order_token(ORDER)},
        "annotations": {ORDER_ID_ANNOTATION: ORDER},
    }
    return {"metadata": metadata, "status": status}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return pod(containerStatuses=[{"name": "c", "state": state}])


UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/6 nodes are available",
}


@pytest.mark.parametrize(
    ("seen", "text"),
    [
        (pod(conditions=[UNSCHEDULABLE]), "FailedScheduling: 0/6 nodes are available"),
        (waiting("ImagePullBackOff", "no such tag"), "container c: ImagePullBackOff: no such tag"),
        (waiting("CrashLoopBackOff"), "container c: CrashLoopBackOff"),
        (
            {**pod(), "spec": {"schedulerName": "volcano"}},
            "FailedScheduling: no scheduler volcano has looked at it",
        ),
        (
            {**pod(), "spec": {"schedulingGates": [{"name": "a.example/paid"}, None]}},
            "SchedulingGated: waits until a.example/paid is removed",
        ),
    ],
)
def test_a_problem_is_told_with_its_pod(seen: dict[str, Any], text: str) -> None:
    assert pod_problem_of(seen) == (ORDER, f"Pod web-1: {text}")


@pytest.mark.parametrize(
    "seen",
    [
        pod(),
        pod(conditions=[{**UNSCHEDULABLE, "status": "True"}]),
        waiting("ContainerCreating"),
        {**pod(), "spec": {"schedulerName": "default-scheduler"}},
        {**pod(), "spec": {"schedulerName": "volcano", "nodeName": "n1"}},
        {**pod(conditions=[{**UNSCHEDULABLE, "status": "True"}]), "spec": {"schedulerName": "v"}},
        {**pod(conditions=[UNSCHEDULABLE]), "metadata": {"name": "somebody-elses"}},
        pod(conditions=None, containerStatuses=[{"state": {"waiting": []}}, None]),
        {"metadata": None, "status": []},
    ],
)
def test_nothing_is_told_of_a_pod_that_starts_or_is_not_ours(seen: dict[str, Any]) -> None:
    assert pod_problem_of(seen) is None
