"""The DaemonSet controller: one pod on every eligible node."""

from datetime import datetime
from typing import Any

from scheduler.simulation.cluster.binding import is_eligible_for_daemon, may_keep_daemon
from scheduler.simulation.cluster.mirror import Mirror, NamespacedName
from scheduler.simulation.cluster.objects import (
    DAEMON_SETS,
    AppsObject,
    ObjectView,
    Pod,
    decode_view,
)
from scheduler.simulation.cluster.objects import PODS as _PODS
from scheduler.simulation.cluster.plan import NO_CHANGE, ControllerPlan, Write, status_patch
from scheduler.simulation.cluster.pods import (
    adoption_patches,
    delete_pod,
    is_active,
    is_available,
    is_finished,
    is_ready,
    is_terminating,
    name_safe_hash,
    new_pod,
    resolve_percentage,
    seconds_until_available,
)

_REVISION_LABEL = "controller-revision-hash"
_DEFAULT_TOLERATIONS = [
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
"""Tolerations of every daemon pod (Kubernetes documentation: DaemonSet, Taints and tolerations)."""


def plan_daemon_set(mirror: Mirror, name: NamespacedName, now: datetime) -> ControllerPlan:
    """Creates missing pods, deletes surplus ones, replaces outdated ones, updates the status."""
    daemon_set = mirror.apps_object(DAEMON_SETS, name)
    if daemon_set is None or daemon_set.metadata.deletion_timestamp:
        return NO_CHANGE
    if adopted := adoption_patches(mirror, DAEMON_SETS, daemon_set):
        return ControllerPlan(adopted)
    revision = name_safe_hash(daemon_set.spec.template, 10)
    pods = mirror.pods_of(daemon_set.metadata.uid)
    by_node = {_target_node(pod): pod for pod in pods}
    eligible, tolerated = _eligible_nodes(mirror, daemon_set)
    writes: list[Write] = [
        _new_node_pod(daemon_set, node, revision) for node in eligible if node not in by_node
    ]
    writes += [
        delete_pod(pod)
        for node, pod in by_node.items()
        if (node not in tolerated or is_finished(pod)) and not is_terminating(pod)
    ]
    writes += _replace_outdated(
        daemon_set, [p for p in pods if _target_node(p) in tolerated], revision, now
    )
    status = _status(daemon_set, pods, eligible, revision, now)
    writes += status_patch(DAEMON_SETS, name, daemon_set.status, status)
    return ControllerPlan(
        writes, seconds_until_available(pods, daemon_set.spec.min_ready_seconds, now)
    )


def _eligible_nodes(mirror: Mirror, daemon_set: AppsObject) -> tuple[set[str], set[str]]:
    """Nodes that should have a pod, and nodes where an existing pod may stay.

    They differ because a NoSchedule taint that is added later does not evict a pod.
    """
    sample = _sample_pod(daemon_set)
    nodes = mirror.nodes()
    should = {n.metadata.name for n in nodes if is_eligible_for_daemon(n, sample)}
    return should, {n.metadata.name for n in nodes if may_keep_daemon(n, sample)}


def _sample_pod(daemon_set: AppsObject) -> Pod:
    body = {
        "metadata": {"name": daemon_set.metadata.name, "namespace": daemon_set.metadata.namespace},
        "spec": _pod_spec(daemon_set, None),
    }
    sample: ObjectView = decode_view(_PODS, body)
    assert isinstance(sample, Pod)  # noqa: S101 - PODS are read as Pod
    return sample


def _pod_spec(daemon_set: AppsObject, node: str | None) -> dict[str, Any]:
    spec = dict(daemon_set.spec.template.get("spec") or {})
    spec["tolerations"] = [*(spec.get("tolerations") or []), *_DEFAULT_TOLERATIONS]
    if node is not None:
        spec["affinity"] = _affinity_to_node(spec.get("affinity") or {}, node)
    return spec


def _affinity_to_node(affinity: dict[str, Any], node: str) -> dict[str, Any]:
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    return {**affinity, "nodeAffinity": required}


def _target_node(pod: Pod) -> str:
    if pod.spec.node_name:
        return pod.spec.node_name
    required = pod.spec.affinity.node_affinity.required
    for term in required.node_selector_terms if required else []:
        for one in term.match_fields:
            return one.values[0] if one.values else ""
    return ""


def _new_node_pod(daemon_set: AppsObject, node: str, revision: str) -> Write:
    suffix = name_safe_hash([daemon_set.metadata.uid, node, revision], 5)
    return new_pod(
        DAEMON_SETS,
        daemon_set,
        f"{daemon_set.metadata.name[:240]}-{suffix}",
        labels={_REVISION_LABEL: revision},
        spec=_pod_spec(daemon_set, node),
    )


def _replace_outdated(
    daemon_set: AppsObject, pods: list[Pod], revision: str, now: datetime
) -> list[Write]:
    strategy = daemon_set.spec.update_strategy
    if strategy.type == "OnDelete":
        return []
    most = resolve_percentage(
        strategy.rolling_update.max_unavailable, len(pods), default=1, round_up=True
    )
    old = [p for p in pods if p.metadata.labels.get(_REVISION_LABEL) != revision and is_active(p)]
    min_ready = daemon_set.spec.min_ready_seconds
    down = [p for p in pods if is_terminating(p) or not is_available(p, min_ready, now)]
    broken = [pod for pod in old if pod in down]
    working = [pod for pod in old if pod not in down]
    return [delete_pod(pod) for pod in broken + working[: max(0, most - len(down))]]


def _status(
    daemon_set: AppsObject, pods: list[Pod], eligible: set[str], revision: str, now: datetime
) -> dict[str, Any]:
    alive = [pod for pod in pods if is_active(pod)]
    placed = [pod for pod in alive if _target_node(pod) in eligible]
    min_ready = daemon_set.spec.min_ready_seconds
    available = sum(is_available(pod, min_ready, now) for pod in placed)
    return {
        "observedGeneration": daemon_set.metadata.generation,
        "desiredNumberScheduled": len(eligible),
        "currentNumberScheduled": len(placed),
        "numberMisscheduled": len(alive) - len(placed),
        "numberReady": sum(is_ready(pod) for pod in placed),
        "numberAvailable": available,
        "numberUnavailable": len(eligible) - available,
        "updatedNumberScheduled": sum(
            pod.metadata.labels.get(_REVISION_LABEL) == revision for pod in placed
        ),
    }
