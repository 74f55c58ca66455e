"""The ReplicaSet controller: so many pods, no more, no fewer."""

from datetime import datetime

from scheduler.simulation.cluster.controllers.adoption import adopt
from scheduler.simulation.cluster.mirror import Mirror, Name
from scheduler.simulation.cluster.objects import REPLICA_SETS, Pod, PodSet
from scheduler.simulation.cluster.plan import NOTHING, Plan, Write, status_patch
from scheduler.simulation.cluster.podwork import (
    digest,
    is_active,
    is_available,
    is_over,
    is_ready,
    new_pod,
    remove_pod,
    wait_for_available,
)


def plan_replica_set(mirror: Mirror, name: Name, now: datetime) -> Plan:
    """Creates what is missing, removes what is too much, counts."""
    replica_set = mirror.pod_set(REPLICA_SETS, name)
    if replica_set is None or replica_set.metadata.deletion_timestamp:
        return NOTHING
    if adopted := adopt(mirror, REPLICA_SETS, replica_set):
        return Plan(adopted)
    pods = mirror.pods_of(replica_set.metadata.uid)
    active = [pod for pod in pods if is_active(pod)]
    missing = replica_set.spec.replicas - len(active)
    writes: list[Write] = [remove_pod(pod) for pod in pods if is_over(pod)]
    if missing > 0:
        writes += _missing(replica_set, missing, {pod.metadata.name for pod in pods})
    elif missing < 0:
        writes += [remove_pod(pod) for pod in sorted(active, key=_worth)[:-missing]]
    writes += status_patch(
        REPLICA_SETS, name, replica_set.status, _status(replica_set, active, now)
    )
    wait = wait_for_available(active, replica_set.spec.min_ready_seconds, now)
    return Plan(writes, again_seconds=wait)


def _missing(replica_set: PodSet, count: int, taken: set[str]) -> list[Write]:
    created: list[Write] = []
    number = 0
    while len(created) < count:
        suffix = digest([replica_set.metadata.uid, number], 5)
        number += 1
        name = f"{replica_set.metadata.name[:250]}-{suffix}"
        if name not in taken:
            created.append(new_pod(REPLICA_SETS, replica_set, name))
    return created


def _worth(pod: Pod) -> tuple[bool, bool, bool, float]:
    """Least first: unbound, not running, not ready, then the youngest."""
    born = pod.metadata.creation_timestamp
    age = 0.0 if born is None else -born.timestamp()
    return (bool(pod.spec.node_name), pod.status.phase == "Running", is_ready(pod), age)


def _status(replica_set: PodSet, active: list[Pod], now: datetime) -> dict[str, int]:
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
