"""Simulated nodes: how they register, what their status says, and who must leave them.

This plays three parts of a cluster: the kubelet's registration and node status, the node lifecycle
controller (not-ready taints, Ready=False of pods on a silent node), and taint-based eviction.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from scheduler.control.ports.hub import Object
from scheduler.model.kinds.fields import Taint, Toleration
from scheduler.simulation.cluster import faults
from scheduler.simulation.cluster.description import NodeDescription
from scheduler.simulation.cluster.kubelet import SIMULATED, is_simulated
from scheduler.simulation.cluster.mirror import Mirror
from scheduler.simulation.cluster.objects import NODES, PODS, Node, Pod
from scheduler.simulation.cluster.plan import (
    NOTHING,
    Create,
    Patch,
    Plan,
    Write,
    conditions,
    sooner,
    timestamp,
)
from scheduler.simulation.cluster.podwork import is_active, is_ready, name_of, remove_pod
from scheduler.simulation.cluster.requests import allocatable_of

_NOT_READY, _UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"
_EVICTION_SECONDS = 300
"""What admission adds to every pod for a silent node (plugin DefaultTolerationSeconds)."""
_DRAINED = "kapok.dev/simulated-drain"
_VERSION = f"v1.36.0{SIMULATED}"


def register(mirror: Mirror, described: NodeDescription) -> list[Write]:
    """Makes a described node, or sets what the description says on one that is there."""
    node = mirror.node(described.name)
    meta: dict[str, Any] = {
        "labels": _labels(described),
        "annotations": {"node.alpha.kubernetes.io/ttl": "0", **described.annotations},
    }
    taints = [_taint(taint) for taint in described.taints]
    if node is None:
        body = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": described.name, **meta},
            "spec": {"taints": taints} if taints else {},
        }
        return [Create(NODES, body)]
    writes: list[Write] = []
    if not meta["labels"].items() <= node.metadata.labels.items():
        writes.append(Patch(NODES, ("", described.name), {"metadata": {"labels": meta["labels"]}}))
    return writes


def plan_node(mirror: Mirror, name: str, now: datetime, described: NodeDescription | None) -> Plan:
    """Brings a node's status, taints and cordon in line with its fault; evicts who must go.

    Args:
        mirror: the cluster.
        name: the node's.
        now: the wall clock.
        described: what the description says of it; None for nodes that others registered.
    """
    node = mirror.node(name)
    if node is None or not is_simulated(node) or node.metadata.deletion_timestamp:
        return NOTHING
    fault = faults.fault_of(node.metadata).name
    writes = [
        *_status(node, fault, described, now),
        *_taints(node, fault, now),
        *_cordon(node, fault),
    ]
    pods = [pod for pod in mirror.pods_on(name) if is_active(pod)]
    if fault == faults.NOT_READY:
        writes += [_unknown(pod, now) for pod in pods if is_ready(pod)]
    if fault == faults.DRAIN:
        writes += [remove_pod(pod) for pod in pods if not _is_daemon(pod)]
    evicted, again_seconds = _evictions(node, pods, now)
    return Plan(writes + evicted, again_seconds)


# ---------------------------------------------------------------- status


def _status(
    node: Node, fault: str, described: NodeDescription | None, now: datetime
) -> list[Write]:
    wanted = conditions(node.status.conditions, _conditions(fault), now)
    quantities = _quantities(node, described)
    good = allocatable_of(quantities).items() <= allocatable_of(node.status.allocatable).items()
    if good and wanted == node.status.conditions and node.status.node_info.kubelet_version:
        return []
    status: dict[str, Any] = {
        "capacity": {**quantities, **(node.status.capacity if good else {})},
        "allocatable": quantities if not good else node.status.allocatable,
        "conditions": [{**one, "lastHeartbeatTime": timestamp(now)} for one in wanted],
        "addresses": [{"type": "Hostname", "address": node.metadata.name}],
        "nodeInfo": _info(node, described),
    }
    return [Patch(NODES, ("", node.metadata.name), {"status": status}, "status")]


def _quantities(node: Node, described: NodeDescription | None) -> dict[str, Any]:
    if described is not None:
        return dict(described.allocatable)
    found = node.status.allocatable or node.status.capacity
    return dict(found or NodeDescription(name="node").each()[0].allocatable)


def _conditions(fault: str) -> Sequence[tuple[str, bool | None, str, str]]:
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


def _info(node: Node, described: NodeDescription | None) -> Object:
    architecture = described.architecture if described else None
    label = node.metadata.labels.get("kubernetes.io/arch", "amd64")
    return {
        "architecture": architecture or label,
        "bootID": node.metadata.uid,
        "containerRuntimeVersion": "simulated://1",
        "kernelVersion": "simulated",
        "kubeProxyVersion": "",
        "kubeletVersion": _VERSION,
        "machineID": node.metadata.uid,
        "operatingSystem": "linux",
        "osImage": "simulated",
        "systemUUID": node.metadata.uid,
    }


def _labels(described: NodeDescription) -> dict[str, str]:
    return {
        "kubernetes.io/hostname": described.name,
        "kubernetes.io/arch": described.architecture,
        "kubernetes.io/os": "linux",
        **described.labels,
    }


# ---------------------------------------------------------------- taints and eviction


def _taints(node: Node, fault: str, now: datetime) -> list[Write]:
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
    body = {"spec": {"taints": [_taint(taint) for taint in wanted] or None}}
    return [Patch(NODES, ("", node.metadata.name), body)]


def _taint(taint: Taint) -> Object:
    body = {"key": taint.key, "effect": taint.effect, "value": taint.value}
    if taint.time_added is not None:
        body["timeAdded"] = timestamp(taint.time_added)
    return {key: value for key, value in body.items() if value}


def _cordon(node: Node, fault: str) -> list[Write]:
    """A drain cordons; when the fault ends, what it cordoned is opened again."""
    name = ("", node.metadata.name)
    if fault == faults.DRAIN and not node.spec.unschedulable:
        body = {"metadata": {"annotations": {_DRAINED: "true"}}, "spec": {"unschedulable": True}}
        return [Patch(NODES, name, body)]
    if fault != faults.DRAIN and _DRAINED in node.metadata.annotations:
        body = {"metadata": {"annotations": {_DRAINED: None}}, "spec": {"unschedulable": None}}
        return [Patch(NODES, name, body)]
    return []


def _evictions(node: Node, pods: list[Pod], now: datetime) -> tuple[list[Write], float | None]:
    writes: list[Write] = []
    again_seconds: float | None = None
    for pod in pods:
        left = _stays_seconds(node, pod, now)
        if left is not None and left <= 0:
            writes.append(remove_pod(pod))
        else:
            again_seconds = sooner(again_seconds, left)
    return writes, again_seconds


def _stays_seconds(node: Node, pod: Pod, now: datetime) -> float | None:
    """Until a NoExecute taint throws the pod out; None is for ever.

    The least `tolerationSeconds` of the tolerations that match a taint counts, from `timeAdded`.
    """
    least: float | None = None
    for taint in node.spec.taints:
        if taint.effect != "NoExecute":
            continue
        seconds = _tolerated_seconds(pod.spec.tolerations, taint)
        if seconds is not None:
            until = (taint.time_added or now) + timedelta(seconds=seconds)
            least = sooner(least, (until - now).total_seconds())
    return least


def _tolerated_seconds(tolerations: list[Toleration], taint: Taint) -> float | None:
    matching = [one for one in tolerations if one.tolerates(taint)]
    if not matching:
        return _EVICTION_SECONDS if taint.key in (_NOT_READY, _UNREACHABLE) else 0
    bounded = [one.toleration_seconds for one in matching if one.toleration_seconds is not None]
    return max(0, min(bounded)) if bounded else None


def _unknown(pod: Pod, now: datetime) -> Write:
    wanted = [("Ready", False, "NodeNotReady", "")]
    after = conditions(pod.status.conditions, wanted, now)
    return Patch(PODS, name_of(pod), {"status": {"conditions": after}}, "status")


def _is_daemon(pod: Pod) -> bool:
    owner = pod.metadata.controller
    return owner is not None and owner.kind == "DaemonSet"
