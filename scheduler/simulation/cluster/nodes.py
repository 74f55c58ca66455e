"""Simulated nodes: registration, status, taints and eviction.

This simulates three parts of a cluster: the kubelet's registration and node status, the node
lifecycle controller (taints of nodes that do not report, Ready=False of their pods), and
taint-based eviction.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from scheduler.control.ports.hub import Object
from scheduler.model.formatters import format_rfc3339
from scheduler.model.kinds.fields import Taint, Toleration
from scheduler.simulation.cluster import faults
from scheduler.simulation.cluster.description import NodeDescription
from scheduler.simulation.cluster.kubelet import SIMULATED_VERSION_SUFFIX, is_simulated
from scheduler.simulation.cluster.mirror import Mirror, name_of
from scheduler.simulation.cluster.objects import NODES, PODS, Pod, SimulatedNode
from scheduler.simulation.cluster.plan import (
    NO_CHANGE,
    ControllerPlan,
    Create,
    Patch,
    Write,
    merge_conditions,
    shorter_wait,
)
from scheduler.simulation.cluster.pods import delete_pod, is_active, is_ready
from scheduler.simulation.cluster.requests import allocatable_of

_NOT_READY, _UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"
_EVICTION_SECONDS = 300
"""Toleration for nodes that do not report, which the admission plugin DefaultTolerationSeconds adds
to every pod."""
_DRAIN_ANNOTATION = "kapok.dev/simulated-drain"
_KUBELET_VERSION = f"v1.36.0{SIMULATED_VERSION_SUFFIX}"


def registration_writes(mirror: Mirror, description: NodeDescription) -> list[Write]:
    """Creates a described node, or sets the described labels on an existing one."""
    node = mirror.node(description.name)
    meta: dict[str, Any] = {
        "labels": _node_labels(description),
        "annotations": {"node.alpha.kubernetes.io/ttl": "0", **description.annotations},
    }
    taints = [_taint_body(taint) for taint in description.taints]
    if node is None:
        body = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": description.name, **meta},
            "spec": {"taints": taints} if taints else {},
        }
        return [Create(NODES, body)]
    writes: list[Write] = []
    if not meta["labels"].items() <= node.metadata.labels.items():
        writes.append(
            Patch(
                resource=NODES,
                name=("", description.name),
                body={"metadata": {"labels": meta["labels"]}},
            )
        )
    return writes


def plan_node(
    mirror: Mirror, name: str, now: datetime, description: NodeDescription | None
) -> ControllerPlan:
    """Updates a node's status, taints and cordon by its fault, and evicts pods by its taints.

    Args:
        mirror: the cluster.
        name: the node's name.
        now: the current time.
        description: its description; None: the node was registered by another program.
    """
    node = mirror.node(name)
    if node is None or not is_simulated(node) or node.metadata.deletion_timestamp:
        return NO_CHANGE
    fault = faults.fault_of(node.metadata).name
    writes = [
        *_status_writes(node, fault, description, now),
        *_taint_writes(node, fault, now),
        *_cordon_writes(node, fault),
    ]
    pods = [pod for pod in mirror.pods_on(name) if is_active(pod)]
    if fault == faults.NOT_READY:
        writes += [_not_ready_patch(pod, now) for pod in pods if is_ready(pod)]
    if fault == faults.DRAIN:
        writes += [delete_pod(pod) for pod in pods if not _is_daemon(pod)]
    evicted, again_seconds = _evictions(node, pods, now)
    return ControllerPlan(writes + evicted, again_seconds)


# ---------------------------------------------------------------- status


def _status_writes(
    node: SimulatedNode, fault: str, description: NodeDescription | None, now: datetime
) -> list[Write]:
    wanted = merge_conditions(node.status.conditions, _conditions_under(fault), now)
    quantities = _allocatable(node, description)
    good = allocatable_of(quantities).items() <= allocatable_of(node.status.allocatable).items()
    if good and wanted == node.status.conditions and node.status.node_info.kubelet_version:
        return []
    status: dict[str, Any] = {
        "capacity": {**quantities, **(node.status.capacity if good else {})},
        "allocatable": quantities if not good else node.status.allocatable,
        "conditions": [{**one, "lastHeartbeatTime": format_rfc3339(now)} for one in wanted],
        "addresses": [{"type": "Hostname", "address": node.metadata.name}],
        "nodeInfo": _node_info(node, description),
    }
    return [
        Patch(
            resource=NODES,
            name=("", node.metadata.name),
            body={"status": status},
            subresource="status",
        )
    ]


def _allocatable(node: SimulatedNode, description: NodeDescription | None) -> dict[str, Any]:
    if description is not None:
        return dict(description.allocatable)
    found = node.status.allocatable or node.status.capacity
    return dict(found or NodeDescription(name="node").expand()[0].allocatable)


def _conditions_under(fault: str) -> Sequence[tuple[str, bool | None, str, str]]:
    if fault == faults.NOT_READY:
        gone = ("NodeStatusUnknown", "Kubelet stopped posting node status.")
        return [
            (kind, None, *gone) for kind in ("MemoryPressure", "DiskPressure", "PIDPressure")
        ] + [("Ready", None, *gone)]
    return [
        ("MemoryPressure", False, "KubeletHasSufficientMemory", ""),
        ("DiskPressure", False, "KubeletHasNoDiskPressure", ""),
        ("PIDPressure", False, "KubeletHasSufficientPID", ""),
        ("Ready", True, "KubeletReady", "simulated kubelet is posting ready status"),
    ]


def _node_info(node: SimulatedNode, description: NodeDescription | None) -> Object:
    architecture = description.architecture if description else None
    label = node.metadata.labels.get("kubernetes.io/arch", "amd64")
    return {
        "architecture": architecture or label,
        "bootID": node.metadata.uid,
        "containerRuntimeVersion": "simulated://1",
        "kernelVersion": "simulated",
        "kubeProxyVersion": "",
        "kubeletVersion": _KUBELET_VERSION,
        "machineID": node.metadata.uid,
        "operatingSystem": "linux",
        "osImage": "simulated",
        "systemUUID": node.metadata.uid,
    }


def _node_labels(description: NodeDescription) -> dict[str, str]:
    return {
        "kubernetes.io/hostname": description.name,
        "kubernetes.io/arch": description.architecture,
        "kubernetes.io/os": "linux",
        **description.labels,
    }


# ---------------------------------------------------------------- taints and eviction


def _taint_writes(node: SimulatedNode, fault: str, now: datetime) -> list[Write]:
    silent = {_NOT_READY, _UNREACHABLE}
    others = [taint for taint in node.spec.taints if taint.key not in silent]
    kept = [taint for taint in node.spec.taints if taint.key == _UNREACHABLE]
    wanted = others
    if fault == faults.NOT_READY:
        missing = [
            Taint(key=_UNREACHABLE, effect=effect, time_added=now)
            for effect in ("NoSchedule", "NoExecute")
        ]
        wanted = others + [
            next((one for one in kept if one.effect == taint.effect), taint) for taint in missing
        ]
    if wanted == node.spec.taints:
        return []
    body = {"spec": {"taints": [_taint_body(taint) for taint in wanted] or None}}
    return [Patch(resource=NODES, name=("", node.metadata.name), body=body)]


def _taint_body(taint: Taint) -> Object:
    body = {"key": taint.key, "effect": taint.effect, "value": taint.value}
    if taint.time_added is not None:
        body["timeAdded"] = format_rfc3339(taint.time_added)
    return {key: value for key, value in body.items() if value}


def _cordon_writes(node: SimulatedNode, fault: str) -> list[Write]:
    """Cordons a node while it has the fault drain, and uncordons it afterwards."""
    name = ("", node.metadata.name)
    if fault == faults.DRAIN and not node.spec.unschedulable:
        body = {
            "metadata": {"annotations": {_DRAIN_ANNOTATION: "true"}},
            "spec": {"unschedulable": True},
        }
        return [Patch(resource=NODES, name=name, body=body)]
    if fault != faults.DRAIN and _DRAIN_ANNOTATION in node.metadata.annotations:
        body = {
            "metadata": {"annotations": {_DRAIN_ANNOTATION: None}},
            "spec": {"unschedulable": None},
        }
        return [Patch(resource=NODES, name=name, body=body)]
    return []


def _evictions(
    node: SimulatedNode, pods: list[Pod], now: datetime
) -> tuple[list[Write], float | None]:
    writes: list[Write] = []
    again_seconds: float | None = None
    for pod in pods:
        left = _seconds_until_eviction(node, pod, now)
        if left is not None and left <= 0:
            writes.append(delete_pod(pod))
        else:
            again_seconds = shorter_wait(again_seconds, left)
    return writes, again_seconds


def _seconds_until_eviction(node: SimulatedNode, pod: Pod, now: datetime) -> float | None:
    """Time until a NoExecute taint evicts the pod; None: never.

    The least `tolerationSeconds` of the tolerations that match the taint counts, from `timeAdded`.
    """
    least: float | None = None
    for taint in node.spec.taints:
        if taint.effect != "NoExecute":
            continue
        seconds = _tolerated_seconds(pod.spec.tolerations, taint)
        if seconds is not None:
            until = (taint.time_added or now) + timedelta(seconds=seconds)
            least = shorter_wait(least, (until - now).total_seconds())
    return least


def _tolerated_seconds(tolerations: list[Toleration], taint: Taint) -> float | None:
    matching = [one for one in tolerations if one.tolerates(taint)]
    if not matching:
        return _EVICTION_SECONDS if taint.key in (_NOT_READY, _UNREACHABLE) else 0
    bounded = [one.toleration_seconds for one in matching if one.toleration_seconds is not None]
    return max(0, min(bounded)) if bounded else None


def _not_ready_patch(pod: Pod, now: datetime) -> Write:
    wanted = [("Ready", False, "NodeNotReady", "")]
    after = merge_conditions(pod.status.conditions, wanted, now)
    return Patch(
        resource=PODS,
        name=name_of(pod),
        body={"status": {"conditions": after}},
        subresource="status",
    )


def _is_daemon(pod: Pod) -> bool:
    owner = pod.metadata.controller
    return owner is not None and owner.kind == "DaemonSet"
