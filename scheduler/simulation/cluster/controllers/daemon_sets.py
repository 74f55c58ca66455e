"""The DaemonSet controller: one pod on every node that allows it."""

from datetime import datetime
from typing import Any

from scheduler.simulation.cluster.binding import admits_daemon, keeps_daemon
from scheduler.simulation.cluster.controllers.adoption import adopt
from scheduler.simulation.cluster.mirror import Mirror, Name
from scheduler.simulation.cluster.objects import DAEMON_SETS, Pod, PodSet, View, view_of
from scheduler.simulation.cluster.objects import PODS as _PODS
from scheduler.simulation.cluster.plan import NOTHING, Plan, Write, status_patch
from scheduler.simulation.cluster.podwork import (
    amount,
    digest,
    is_active,
    is_available,
    is_ending,
    is_over,
    is_ready,
    new_pod,
    remove_pod,
    wait_for_available,
)

_REVISION = "controller-revision-hash"
_TOLERATED = [
    {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": effect}
    for key, effect in (
        ("not-ready", "NoExecute"),
        ("unreachable", "NoExecute"),
        ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"),
        ("pid-pressure", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
    )
]
"""What every daemon pod tolerates (Kubernetes: DaemonSet, "Taints and tolerations")."""


def plan_daemon_set(mirror: Mirror, name: Name, now: datetime) -> Plan:
    """Creates one pod per eligible node, removes the others, replaces old ones, counts."""
    wanted = mirror.pod_set(DAEMON_SETS, name)
    if wanted is None or wanted.metadata.deletion_timestamp:
        return NOTHING
    if adopted := adopt(mirror, DAEMON_SETS, wanted):
        return Plan(adopted)
    revision = digest(wanted.spec.template, 10)
    pods = mirror.pods_of(wanted.metadata.uid)
    by_node = {_target(pod): pod for pod in pods}
    eligible, bearable = _eligible(mirror, wanted)
    writes: list[Write] = [_new(wanted, node, revision) for node in eligible if node not in by_node]
    writes += [
        remove_pod(pod)
        for node, pod in by_node.items()
        if (node not in bearable or is_over(pod)) and not is_ending(pod)
    ]
    writes += _outdated(wanted, [p for p in pods if _target(p) in bearable], revision, now)
    status = _status(wanted, pods, eligible, revision, now)
    writes += status_patch(DAEMON_SETS, name, wanted.status, status)
    return Plan(writes, wait_for_available(pods, wanted.spec.min_ready_seconds, now))


def _eligible(mirror: Mirror, wanted: PodSet) -> tuple[set[str], set[str]]:
    """Nodes that should have a pod, and those where a pod that is there may stay.

    A NoSchedule taint that comes later drives nothing out.
    """
    sample = _sample(wanted)
    nodes = mirror.nodes()
    should = {n.metadata.name for n in nodes if admits_daemon(n, sample)}
    return should, {n.metadata.name for n in nodes if keeps_daemon(n, sample)}


def _sample(wanted: PodSet) -> Pod:
    body = {
        "metadata": {"name": wanted.metadata.name, "namespace": wanted.metadata.namespace},
        "spec": _spec(wanted, None),
    }
    sample: View = view_of(_PODS, body)
    assert isinstance(sample, Pod)  # noqa: S101 - PODS are read as Pod
    return sample


def _spec(wanted: PodSet, node: str | None) -> dict[str, Any]:
    spec = dict(wanted.spec.template.get("spec") or {})
    spec["tolerations"] = [*(spec.get("tolerations") or []), *_TOLERATED]
    if node is not None:
        spec["affinity"] = _pinned(spec.get("affinity") or {}, node)
    return spec


def _pinned(affinity: dict[str, Any], node: str) -> dict[str, Any]:
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    return {**affinity, "nodeAffinity": required}


def _target(pod: Pod) -> str:
    if pod.spec.node_name:
        return pod.spec.node_name
    required = pod.spec.affinity.node_affinity.required
    for term in required.node_selector_terms if required else []:
        for one in term.match_fields:
            return one.values[0] if one.values else ""
    return ""


def _new(wanted: PodSet, node: str, revision: str) -> Write:
    name = f"{wanted.metadata.name[:240]}-{digest([wanted.metadata.uid, node, revision], 5)}"
    return new_pod(
        DAEMON_SETS, wanted, name, labels={_REVISION: revision}, spec=_spec(wanted, node)
    )


def _outdated(wanted: PodSet, pods: list[Pod], revision: str, now: datetime) -> list[Write]:
    strategy = wanted.spec.update_strategy
    if strategy.type == "OnDelete":
        return []
    most = amount(strategy.rolling_update.max_unavailable, len(pods), default=1, round_up=True)
    old = [p for p in pods if p.metadata.labels.get(_REVISION) != revision and is_active(p)]
    min_ready = wanted.spec.min_ready_seconds
    down = [p for p in pods if is_ending(p) or not is_available(p, min_ready, now)]
    broken = [pod for pod in old if pod in down]
    working = [pod for pod in old if pod not in down]
    return [remove_pod(pod) for pod in broken + working[: max(0, most - len(down))]]


def _status(
    wanted: PodSet, pods: list[Pod], eligible: set[str], revision: str, now: datetime
) -> dict[str, Any]:
    alive = [pod for pod in pods if is_active(pod)]
    placed = [pod for pod in alive if _target(pod) in eligible]
    min_ready = wanted.spec.min_ready_seconds
    available = sum(is_available(pod, min_ready, now) for pod in placed)
    return {
        "observedGeneration": wanted.metadata.generation,
        "desiredNumberScheduled": len(eligible),
        "currentNumberScheduled": len(placed),
        "numberMisscheduled": len(alive) - len(placed),
        "numberReady": sum(is_ready(pod) for pod in placed),
        "numberAvailable": available,
        "numberUnavailable": len(eligible) - available,
        "updatedNumberScheduled": sum(
            pod.metadata.labels.get(_REVISION) == revision for pod in placed
        ),
    }
