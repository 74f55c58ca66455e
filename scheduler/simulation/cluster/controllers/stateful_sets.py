"""The StatefulSet controller: named pods, one after the other."""

from datetime import datetime
from typing import Any

from scheduler.simulation.cluster.controllers.adoption import adopt
from scheduler.simulation.cluster.mirror import Mirror, Name
from scheduler.simulation.cluster.objects import STATEFUL_SETS, Pod, PodSet
from scheduler.simulation.cluster.plan import NOTHING, Plan, Write, status_patch
from scheduler.simulation.cluster.podwork import (
    digest,
    is_available,
    is_ending,
    is_over,
    is_ready,
    new_pod,
    remove_pod,
    wait_for_available,
)

_REVISION = "controller-revision-hash"


def plan_stateful_set(mirror: Mirror, name: Name, now: datetime) -> Plan:
    """Creates in order, removes from the end, replaces old revisions from the end, counts.

    With `podManagementPolicy: Parallel` creation does not wait for the pod before. Claims for
    volumes are not made: simulated pods mount nothing.
    """
    wanted = mirror.pod_set(STATEFUL_SETS, name)
    if wanted is None or wanted.metadata.deletion_timestamp:
        return NOTHING
    if adopted := adopt(mirror, STATEFUL_SETS, wanted):
        return Plan(adopted)
    pods = {pod.metadata.name: pod for pod in mirror.pods_of(wanted.metadata.uid)}
    revision = digest(wanted.spec.template, 10)
    writes = _surplus(wanted, pods) or _missing(wanted, pods, revision, now)
    writes = writes or _outdated(wanted, pods, revision, now)
    alive = [pod for pod in pods.values() if not is_over(pod)]
    writes += status_patch(
        STATEFUL_SETS, name, wanted.status, _status(wanted, alive, revision, now)
    )
    return Plan(writes, wait_for_available(alive, wanted.spec.min_ready_seconds, now))


def _pod_name(wanted: PodSet, ordinal: int) -> str:
    return f"{wanted.metadata.name}-{ordinal}"


def _surplus(wanted: PodSet, pods: dict[str, Pod]) -> list[Write]:
    kept = {_pod_name(wanted, ordinal) for ordinal in range(wanted.spec.replicas)}
    surplus = [pod for name, pod in pods.items() if name not in kept]
    if not surplus:
        return []
    if _is_parallel(wanted):
        return [remove_pod(pod) for pod in surplus if not is_ending(pod)]
    last = max(surplus, key=lambda pod: _ordinal(pod.metadata.name))
    return [] if is_ending(last) else [remove_pod(last)]


def _missing(wanted: PodSet, pods: dict[str, Pod], revision: str, now: datetime) -> list[Write]:
    writes: list[Write] = []
    for ordinal in range(wanted.spec.replicas):
        pod = pods.get(_pod_name(wanted, ordinal))
        if pod is None:
            writes.append(_new(wanted, ordinal, revision))
        elif is_over(pod) and not is_ending(pod):
            writes.append(remove_pod(pod))
        elif is_available(pod, wanted.spec.min_ready_seconds, now) and not is_ending(pod):
            continue
        if not _is_parallel(wanted):
            break
    return writes


def _outdated(wanted: PodSet, pods: dict[str, Pod], revision: str, now: datetime) -> list[Write]:
    """From the last one down, one at a time, and only while all others are available."""
    strategy = wanted.spec.update_strategy
    if strategy.type == "OnDelete":
        return []
    for ordinal in reversed(range(strategy.rolling_update.partition, wanted.spec.replicas)):
        pod = pods.get(_pod_name(wanted, ordinal))
        if pod is None or is_ending(pod):
            return []
        if pod.metadata.labels.get(_REVISION) != revision:
            return [remove_pod(pod)]
        if not is_available(pod, wanted.spec.min_ready_seconds, now):
            return []
    return []


def _new(wanted: PodSet, ordinal: int, revision: str) -> Write:
    name = _pod_name(wanted, ordinal)
    labels = {
        "apps.kubernetes.io/pod-index": str(ordinal),
        "statefulset.kubernetes.io/pod-name": name,
        _REVISION: revision,
    }
    spec = {"hostname": name, "subdomain": wanted.spec.service_name}
    return new_pod(
        STATEFUL_SETS, wanted, name, labels=labels, spec={k: v for k, v in spec.items() if v}
    )


def _status(wanted: PodSet, alive: list[Pod], revision: str, now: datetime) -> dict[str, Any]:
    updated = [pod for pod in alive if pod.metadata.labels.get(_REVISION) == revision]
    available = [p for p in alive if is_available(p, wanted.spec.min_ready_seconds, now)]
    update_revision = f"{wanted.metadata.name}-{revision}"
    current = str(wanted.status.get("currentRevision") or update_revision)
    if len(updated) == len(alive) == wanted.spec.replicas and len(available) == len(alive):
        current = update_revision
    on_current = len(updated) if current == update_revision else len(alive) - len(updated)
    return {
        "observedGeneration": wanted.metadata.generation,
        "replicas": len(alive),
        "readyReplicas": sum(is_ready(pod) for pod in alive),
        "availableReplicas": len(available),
        "currentReplicas": on_current,
        "updatedReplicas": len(updated),
        "currentRevision": current,
        "updateRevision": update_revision,
    }


def _is_parallel(wanted: PodSet) -> bool:
    return wanted.spec.pod_management_policy == "Parallel"


def _ordinal(name: str) -> int:
    last = name.rpartition("-")[2]
    return int(last) if last.isdigit() else -1
