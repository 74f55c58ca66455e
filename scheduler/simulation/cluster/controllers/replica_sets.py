"""The ReplicaSet controller: keeps the number of pods at `replicas`."""

from datetime import datetime

from scheduler.simulation.cluster.mirror import Mirror, NamespacedName
from scheduler.simulation.cluster.objects import REPLICA_SETS, AppsObject, Pod
from scheduler.simulation.cluster.plan import NO_CHANGE, ControllerPlan, Write, status_patch
from scheduler.simulation.cluster.pods import (
    adoption_patches,
    delete_pod,
    is_active,
    is_available,
    is_finished,
    is_ready,
    name_safe_hash,
    new_pod,
    seconds_until_available,
)


def plan_replica_set(mirror: Mirror, name: NamespacedName, now: datetime) -> ControllerPlan:
    """Creates missing pods, deletes surplus ones, updates the status."""
    replica_set = mirror.apps_object(REPLICA_SETS, name)
    if replica_set is None or replica_set.metadata.deletion_timestamp:
        return NO_CHANGE
    if adopted := adoption_patches(mirror, REPLICA_SETS, replica_set):
        return ControllerPlan(adopted)
    pods = mirror.pods_of(replica_set.metadata.uid)
    active = [pod for pod in pods if is_active(pod)]
    missing = replica_set.spec.replicas - len(active)
    writes: list[Write] = [delete_pod(pod) for pod in pods if is_finished(pod)]
    if missing > 0:
        writes += _create_missing(replica_set, missing, {pod.metadata.name for pod in pods})
    elif missing < 0:
        writes += [delete_pod(pod) for pod in sorted(active, key=_deletion_rank)[:-missing]]
    writes += status_patch(
        REPLICA_SETS, name, replica_set.status, _status(replica_set, active, now)
    )
    wait = seconds_until_available(active, replica_set.spec.min_ready_seconds, now)
    return ControllerPlan(writes, requeue_after_seconds=wait)


def _create_missing(replica_set: AppsObject, count: int, taken: set[str]) -> list[Write]:
    created: list[Write] = []
    number = 0
    while len(created) < count:
        suffix = name_safe_hash([replica_set.metadata.uid, number], 5)
        number += 1
        name = f"{replica_set.metadata.name[:250]}-{suffix}"
        if name not in taken:
            created.append(new_pod(REPLICA_SETS, replica_set, name))
    return created


def _deletion_rank(pod: Pod) -> tuple[bool, bool, bool, float]:
    """Sort key of pods to delete: first unbound, then not running, not ready, and the youngest."""
    born = pod.metadata.creation_timestamp
    age = 0.0 if born is None else -born.timestamp()
    return (bool(pod.spec.node_name), pod.status.phase == "Running", is_ready(pod), age)


def _status(replica_set: AppsObject, active: list[Pod], now: datetime) -> dict[str, int]:
    labels = (replica_set.spec.template.get("metadata") or {}).get("labels") or {}
    labelled = [pod for pod in active if labels.items() <= pod.metadata.labels.items()]
    wait_seconds = replica_set.spec.min_ready_seconds
    return {
        "observedGeneration": replica_set.metadata.generation,
        "replicas": len(active),
        "fullyLabeledReplicas": len(labelled),
        "readyReplicas": sum(is_ready(pod) for pod in active),
        "availableReplicas": sum(is_available(pod, wait_seconds, now) for pod in active),
    }
