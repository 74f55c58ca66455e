"""The kubelet of every simulated node: starts bound pods, ends them, lets them fail on request.

A pod costs one status write to run and one to end, whatever it holds.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from scheduler.simulation.cluster import faults
from scheduler.simulation.cluster.binding import NoNode, choose_node
from scheduler.simulation.cluster.mirror import Mirror, Name
from scheduler.simulation.cluster.objects import PODS, Node, Pod
from scheduler.simulation.cluster.plan import (
    NOTHING,
    Bind,
    Patch,
    Plan,
    Remove,
    Tell,
    conditions,
    timestamp,
)
from scheduler.simulation.cluster.podwork import is_ending, is_over, is_ready


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast simulated things go, in seconds.

    Attributes:
        start_seconds: from bound to Ready.
        stop_seconds: from deleted to gone.
        job_seconds: how long a Job's pod runs when its annotation does not say.
    """

    start_seconds: float = 0.3
    stop_seconds: float = 0.1
    job_seconds: float = 5.0


def plan_pod(mirror: Mirror, name: Name, now: datetime, pace: Pace) -> Plan:
    """The next step in a pod's life: bind, run, end, go."""
    pod = mirror.pod(name)
    if pod is None:
        return NOTHING
    if not pod.spec.node_name:
        return _unbound(mirror, pod, now)
    node = mirror.node(pod.spec.node_name)
    if node is None:
        return Plan([Remove(PODS, name, pod.metadata.uid, at_once=True)])
    return _bound(mirror, pod, node, now, pace)


def _bound(mirror: Mirror, pod: Pod, node: Node, now: datetime, pace: Pace) -> Plan:
    fault = faults.fault_of(node.metadata)
    if not is_simulated(node) or fault.name == faults.NOT_READY:
        return NOTHING
    if is_ending(pod):
        return _ending(pod, now, pace)
    if is_over(pod):
        return NOTHING
    own = faults.fault_of(pod.metadata)
    return _living(mirror, pod, own if own.name else fault, now, pace)


def is_simulated(node: Node) -> bool:
    """Whether no real kubelet answers for this node."""
    version = node.status.node_info.kubelet_version
    return not version or version.endswith(SIMULATED)


SIMULATED = "-simulated"
"""How the kubelet version of our nodes ends; nodes of real kubelets are left alone."""


def _unbound(mirror: Mirror, pod: Pod, now: datetime) -> Plan:
    name = (pod.metadata.namespace, pod.metadata.name)
    if is_ending(pod):
        return Plan([Remove(PODS, name, pod.metadata.uid, at_once=True)])
    if is_over(pod) or pod.spec.scheduling_gates or pod.spec.scheduler_name != "default-scheduler":
        return NOTHING
    chosen = choose_node(pod, mirror)
    if not isinstance(chosen, NoNode):
        return Plan([Bind(name, pod.metadata.uid, chosen.metadata.name)])
    wanted = ("PodScheduled", False, "Unschedulable", chosen.message)
    after = conditions(pod.status.conditions, [wanted], now)
    if after == pod.status.conditions:
        return NOTHING
    return Plan(
        [
            Patch(PODS, name, {"status": {"conditions": after}}, "status"),
            Tell(
                PODS,
                name,
                pod.metadata.uid,
                "FailedScheduling",
                chosen.message,
                "default-scheduler",
            ),
        ]
    )


def _ending(pod: Pod, now: datetime, pace: Pace) -> Plan:
    deleted_at = (
        pod.metadata.deletion_timestamp or now
    )  # deletion + grace period, as the API has it
    grace_seconds = pod.metadata.deletion_grace_period_seconds or 0
    left = (deleted_at - timedelta(seconds=grace_seconds) - now).total_seconds()
    left += min(grace_seconds, pace.stop_seconds)
    if left > 0:
        return Plan(again_seconds=left)
    name = (pod.metadata.namespace, pod.metadata.name)
    return Plan([Remove(PODS, name, pod.metadata.uid, at_once=True)])


def _living(mirror: Mirror, pod: Pod, fault: faults.Fault, now: datetime, pace: Pace) -> Plan:
    start_seconds = fault.seconds if fault.name == faults.SLOW_START else pace.start_seconds
    bound_at = mirror.bound_at(pod) or now
    left = (bound_at + timedelta(seconds=start_seconds) - now).total_seconds()
    if pod.status.phase == "Pending" and left > 0:
        return Plan(again_seconds=left)
    if fault.name == faults.CRASH_LOOP:
        return _crash(pod, now)
    if pod.status.phase == "Pending" or not is_ready(pod):
        return Plan([_run(pod, now)])
    left = _runs_seconds(mirror, pod, now, pace)
    if left > 0:
        return Plan(again_seconds=left if math.isfinite(left) else None)
    return Plan([_finish(pod, "Succeeded", 0, now)])


def _runs_seconds(mirror: Mirror, pod: Pod, now: datetime, pace: Pace) -> float:
    """How long it still runs: for ever, unless it may end and is a Job's or says how long."""
    if pod.spec.restart_policy == "Always":
        return math.inf
    owner = pod.metadata.controller
    default = pace.job_seconds if owner is not None and owner.kind == "Job" else math.inf
    seconds = faults.simulated_seconds(pod.metadata, default)
    if not math.isfinite(seconds):
        return math.inf
    # The API keeps whole seconds; what this process saw is exact, unless it started later.
    seen_at = mirror.running_at(pod) or now
    started_at = pod.status.start_time or seen_at
    since = min(seen_at, started_at + timedelta(seconds=1))
    return (since + timedelta(seconds=seconds) - now).total_seconds()


def _run(pod: Pod, now: datetime) -> Patch:
    state = {"running": {"startedAt": timestamp(now)}}
    return _write(pod, "Running", _containers(pod, state, ready=True), ready=True, now=now)


def _crash(pod: Pod, now: datetime) -> Plan:
    """A pod that may end fails; another one waits in its back-off."""
    if pod.spec.restart_policy == "Never":
        return Plan([_finish(pod, "Failed", 1, now)])
    waiting = {"reason": "CrashLoopBackOff", "message": f"{faults.FAULT}: {faults.CRASH_LOOP}"}
    if not is_ready(pod) and any(
        "waiting" in c.get("state", {}) for c in pod.status.container_statuses
    ):
        return NOTHING
    containers = _containers(pod, {"waiting": waiting}, ready=False, restarts=1)
    return Plan([_write(pod, "Running", containers, ready=False, now=now)])


def _finish(pod: Pod, phase: str, exit_code: int, now: datetime) -> Patch:
    reason = "Completed" if exit_code == 0 else "Error"
    ended = {"exitCode": exit_code, "reason": reason, "finishedAt": timestamp(now)}
    containers = _containers(pod, {"terminated": ended}, ready=False)
    return _write(pod, phase, containers, ready=False, now=now)


def _write(
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
        "conditions": conditions(pod.status.conditions, wanted, now),
        "containerStatuses": containers,
        "startTime": timestamp(pod.status.start_time or now),
    }
    if pod.spec.init_containers:
        status["initContainerStatuses"] = _init_containers(pod, now)
    name = (pod.metadata.namespace, pod.metadata.name)
    return Patch(PODS, name, {"status": status}, "status")


def _containers(
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


def _init_containers(pod: Pod, now: datetime) -> list[dict[str, Any]]:
    done = {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": timestamp(now)}}
    stays = {"running": {"startedAt": timestamp(now)}}
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
