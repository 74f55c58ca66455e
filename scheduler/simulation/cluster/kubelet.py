"""The lifecycle of pods: binding, and then the kubelet of a simulated node starts and ends them.

A pod costs one status write to start and one to end, however many containers it has. An annotation
makes pods fail on request.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from scheduler.model.formatters import format_rfc3339
from scheduler.simulation.cluster import faults
from scheduler.simulation.cluster.binding import NoFeasibleNode, choose_node
from scheduler.simulation.cluster.mirror import Mirror, NamespacedName, name_of
from scheduler.simulation.cluster.objects import PODS, Pod, SimulatedNode
from scheduler.simulation.cluster.plan import (
    NO_CHANGE,
    Bind,
    ControllerPlan,
    Delete,
    Patch,
    RecordEvent,
    merge_conditions,
)
from scheduler.simulation.cluster.pods import is_finished, is_ready, is_terminating


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationPace:
    """Durations in a simulated cluster.

    Attributes:
        start_seconds: from the binding of a pod until it is Ready.
        stop_seconds: from the deletion of a pod until it is gone.
        job_seconds: time that a pod of a Job runs, unless its annotation says another one.
    """

    start_seconds: float = 0.3
    stop_seconds: float = 0.1
    job_seconds: float = 5.0


def plan_pod(
    mirror: Mirror, name: NamespacedName, now: datetime, pace: SimulationPace
) -> ControllerPlan:
    """The next step of a pod: bind, start, finish, or delete it."""
    pod = mirror.pod(name)
    if pod is None:
        return NO_CHANGE
    if not pod.spec.node_name:
        return _plan_unbound(mirror, pod, now)
    node = mirror.node(pod.spec.node_name)
    if node is None:
        return ControllerPlan(
            [Delete(resource=PODS, name=name, uid=pod.metadata.uid, is_immediate=True)]
        )
    return _plan_bound(mirror, pod, node, now, pace)


def _plan_bound(
    mirror: Mirror, pod: Pod, node: SimulatedNode, now: datetime, pace: SimulationPace
) -> ControllerPlan:
    fault = faults.fault_of(node.metadata)
    if not is_simulated(node) or fault.name == faults.NOT_READY:
        return NO_CHANGE
    if is_terminating(pod):
        return _plan_termination(pod, now, pace)
    if is_finished(pod):
        return NO_CHANGE
    own = faults.fault_of(pod.metadata)
    return _plan_running(mirror, pod, own if own.name else fault, now, pace)


def is_simulated(node: SimulatedNode) -> bool:
    """Whether the node belongs to the simulation, not to a real kubelet."""
    version = node.status.node_info.kubelet_version
    return not version or version.endswith(SIMULATED_VERSION_SUFFIX)


SIMULATED_VERSION_SUFFIX = "-simulated"
"""End of the kubelet version of simulated nodes; nodes of real kubelets are not touched."""


def _plan_unbound(mirror: Mirror, pod: Pod, now: datetime) -> ControllerPlan:
    name = name_of(pod)
    if is_terminating(pod):
        return ControllerPlan(
            [Delete(resource=PODS, name=name, uid=pod.metadata.uid, is_immediate=True)]
        )
    if (
        is_finished(pod)
        or pod.spec.scheduling_gates
        or pod.spec.scheduler_name != "default-scheduler"
    ):
        return NO_CHANGE
    chosen = choose_node(pod, mirror)
    if not isinstance(chosen, NoFeasibleNode):
        return ControllerPlan([Bind(name, pod.metadata.uid, chosen.metadata.name)])
    wanted = ("PodScheduled", False, "Unschedulable", chosen.message)
    after = merge_conditions(pod.status.conditions, [wanted], now)
    if after == pod.status.conditions:
        return NO_CHANGE
    return ControllerPlan(
        [
            Patch(
                resource=PODS,
                name=name,
                body={"status": {"conditions": after}},
                subresource="status",
            ),
            RecordEvent(
                resource=PODS,
                name=name,
                uid=pod.metadata.uid,
                reason="FailedScheduling",
                message=chosen.message,
                component="default-scheduler",
            ),
        ]
    )


def _plan_termination(pod: Pod, now: datetime, pace: SimulationPace) -> ControllerPlan:
    deleted_at = (
        pod.metadata.deletion_timestamp or now
    )  # deletion + grace period, as the API has it
    grace_seconds = pod.metadata.deletion_grace_period_seconds or 0
    left = (deleted_at - timedelta(seconds=grace_seconds) - now).total_seconds()
    left += min(grace_seconds, pace.stop_seconds)
    if left > 0:
        return ControllerPlan(requeue_after_seconds=left)
    name = name_of(pod)
    return ControllerPlan(
        [Delete(resource=PODS, name=name, uid=pod.metadata.uid, is_immediate=True)]
    )


def _plan_running(
    mirror: Mirror, pod: Pod, fault: faults.Fault, now: datetime, pace: SimulationPace
) -> ControllerPlan:
    start_seconds = fault.seconds if fault.name == faults.SLOW_START else pace.start_seconds
    bound_at = mirror.bound_at(pod) or now
    left = (bound_at + timedelta(seconds=start_seconds) - now).total_seconds()
    if pod.status.phase == "Pending" and left > 0:
        return ControllerPlan(requeue_after_seconds=left)
    if fault.name == faults.CRASH_LOOP:
        return _plan_crash(pod, now)
    if pod.status.phase == "Pending" or not is_ready(pod):
        return ControllerPlan([_start_patch(pod, now)])
    left = _remaining_seconds(mirror, pod, now, pace)
    if left > 0:
        return ControllerPlan(requeue_after_seconds=left if math.isfinite(left) else None)
    return ControllerPlan([_finish_patch(pod, "Succeeded", 0, now)])


def _remaining_seconds(mirror: Mirror, pod: Pod, now: datetime, pace: SimulationPace) -> float:
    """Time until a running pod succeeds.

    Infinity: it never does, because it restarts always, or is no Job's and has no annotation.
    """
    if pod.spec.restart_policy == "Always":
        return math.inf
    owner = pod.metadata.controller
    default = pace.job_seconds if owner is not None and owner.kind == "Job" else math.inf
    seconds = faults.simulated_seconds(pod.metadata, default)
    if not math.isfinite(seconds):
        return math.inf
    # The API keeps whole seconds. The time that this process saw is exact, but too late if this
    # process started after the pod did; so it counts only within that second.
    seen_at = mirror.running_at(pod) or now
    started_at = pod.status.start_time or seen_at
    since = min(seen_at, started_at + timedelta(seconds=1))
    return (since + timedelta(seconds=seconds) - now).total_seconds()


def _start_patch(pod: Pod, now: datetime) -> Patch:
    state = {"running": {"startedAt": format_rfc3339(now)}}
    return _status_patch(
        pod, "Running", _container_statuses(pod, state, ready=True), ready=True, now=now
    )


def _plan_crash(pod: Pod, now: datetime) -> ControllerPlan:
    """Fails a pod with restartPolicy Never; puts any other one into CrashLoopBackOff."""
    if pod.spec.restart_policy == "Never":
        return ControllerPlan([_finish_patch(pod, "Failed", 1, now)])
    waiting = {
        "reason": "CrashLoopBackOff",
        "message": f"{faults.FAULT_ANNOTATION}: {faults.CRASH_LOOP}",
    }
    if not is_ready(pod) and any(
        "waiting" in c.get("state", {}) for c in pod.status.container_statuses
    ):
        return NO_CHANGE
    containers = _container_statuses(pod, {"waiting": waiting}, ready=False, restarts=1)
    return ControllerPlan([_status_patch(pod, "Running", containers, ready=False, now=now)])


def _finish_patch(pod: Pod, phase: str, exit_code: int, now: datetime) -> Patch:
    reason = "Completed" if exit_code == 0 else "Error"
    ended = {"exitCode": exit_code, "reason": reason, "finishedAt": format_rfc3339(now)}
    containers = _container_statuses(pod, {"terminated": ended}, ready=False)
    return _status_patch(pod, phase, containers, ready=False, now=now)


def _status_patch(
    pod: Pod, phase: str, containers: list[dict[str, Any]], *, ready: bool, now: datetime
) -> Patch:
    why = "" if ready else ("PodCompleted" if phase == "Succeeded" else "ContainersNotReady")
    wanted = [
        ("PodScheduled", True, "", ""),
        ("PodReadyToStartContainers", phase == "Running", "", ""),
        ("Initialized", True, "", ""),
        ("ContainersReady", ready, why, ""),
        ("Ready", ready, why, ""),
    ]
    status: dict[str, Any] = {
        "phase": phase,
        "conditions": merge_conditions(pod.status.conditions, wanted, now),
        "containerStatuses": containers,
        "startTime": format_rfc3339(pod.status.start_time or now),
    }
    if pod.spec.init_containers:
        status["initContainerStatuses"] = _init_container_statuses(pod, now)
    name = name_of(pod)
    return Patch(resource=PODS, name=name, body={"status": status}, subresource="status")


def _container_statuses(
    pod: Pod, state: dict[str, Any], *, ready: bool, restarts: int = 0
) -> list[dict[str, Any]]:
    return [
        {
            "name": container.get("name", ""),
            "image": container.get("image", ""),
            "imageID": "",
            "containerID": f"simulated://{pod.metadata.uid}/{container.get('name', '')}",
            "ready": ready,
            "started": ready,
            "restartCount": restarts,
            "state": state,
        }
        for container in pod.spec.containers
    ]


def _init_container_statuses(pod: Pod, now: datetime) -> list[dict[str, Any]]:
    done = {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": format_rfc3339(now)}}
    stays = {"running": {"startedAt": format_rfc3339(now)}}
    return [
        {
            "name": container.get("name", ""),
            "image": container.get("image", ""),
            "imageID": "",
            "ready": True,
            "restartCount": 0,
            "state": stays if container.get("restartPolicy") == "Always" else done,
        }
        for container in pod.spec.init_containers
    ]
