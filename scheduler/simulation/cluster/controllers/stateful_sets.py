"""The StatefulSet controller: pods with stable names, created and replaced in order."""

from datetime import datetime
from typing import Any

from scheduler.simulation.cluster.mirror import Mirror, NamespacedName
from scheduler.simulation.cluster.objects import STATEFUL_SETS, AppsObject, Pod
from scheduler.simulation.cluster.plan import NO_CHANGE, ControllerPlan, Write, status_patch
from scheduler.simulation.cluster.pods import (
    adoption_patches,
    delete_pod,
    is_available,
    is_finished,
    is_ready,
    is_terminating,
    name_safe_hash,
    new_pod,
    seconds_until_available,
)

_REVISION_LABEL = "controller-revision-hash"


def plan_stateful_set(mirror: Mirror, name: NamespacedName, now: datetime) -> ControllerPlan:
    """Creates pods in order, deletes and replaces them in reverse order, updates the status.

    With `podManagementPolicy: Parallel` creation does not wait for the previous pod. Volume claims
    are not created: simulated pods mount nothing.
    """
    stateful_set = mirror.apps_object(STATEFUL_SETS, name)
    if stateful_set is None or stateful_set.metadata.deletion_timestamp:
        return NO_CHANGE
    if adopted := adoption_patches(mirror, STATEFUL_SETS, stateful_set):
        return ControllerPlan(adopted)
    pods = {pod.metadata.name: pod for pod in mirror.pods_of(stateful_set.metadata.uid)}
    revision = name_safe_hash(stateful_set.spec.template, 10)
    writes = _delete_surplus(stateful_set, pods) or _create_missing(
        stateful_set, pods, revision, now
    )
    writes = writes or _replace_outdated(stateful_set, pods, revision, now)
    alive = [pod for pod in pods.values() if not is_finished(pod)]
    writes += status_patch(
        STATEFUL_SETS, name, stateful_set.status, _status(stateful_set, alive, revision, now)
    )
    return ControllerPlan(
        writes, seconds_until_available(alive, stateful_set.spec.min_ready_seconds, now)
    )


def _ordinals_of(stateful_set: AppsObject) -> range:
    start = stateful_set.spec.ordinals.start
    return range(start, start + stateful_set.spec.replicas)


def _pod_name(stateful_set: AppsObject, ordinal: int) -> str:
    return f"{stateful_set.metadata.name}-{ordinal}"


def _delete_surplus(stateful_set: AppsObject, pods: dict[str, Pod]) -> list[Write]:
    kept = {_pod_name(stateful_set, ordinal) for ordinal in _ordinals_of(stateful_set)}
    surplus = [pod for name, pod in pods.items() if name not in kept]
    if not surplus:
        return []
    if _is_parallel(stateful_set):
        return [delete_pod(pod) for pod in surplus if not is_terminating(pod)]
    last = max(surplus, key=lambda pod: _ordinal_of(pod.metadata.name))
    return [] if is_terminating(last) else [delete_pod(last)]


def _create_missing(
    stateful_set: AppsObject, pods: dict[str, Pod], revision: str, now: datetime
) -> list[Write]:
    writes: list[Write] = []
    for ordinal in _ordinals_of(stateful_set):
        pod = pods.get(_pod_name(stateful_set, ordinal))
        if pod is None:
            writes.append(_new_ordinal_pod(stateful_set, ordinal, revision))
        elif is_finished(pod) and not is_terminating(pod):
            writes.append(delete_pod(pod))
        elif is_available(pod, stateful_set.spec.min_ready_seconds, now) and not is_terminating(
            pod
        ):
            continue
        if not _is_parallel(stateful_set):
            break
    return writes


def _replace_outdated(
    stateful_set: AppsObject, pods: dict[str, Pod], revision: str, now: datetime
) -> list[Write]:
    """Deletes outdated pods, the last one first, one at a time, while all others are available."""
    strategy = stateful_set.spec.update_strategy
    if strategy.type == "OnDelete":
        return []
    for ordinal in reversed(_ordinals_of(stateful_set)):
        if ordinal < strategy.rolling_update.partition:
            return []
        pod = pods.get(_pod_name(stateful_set, ordinal))
        if pod is None or is_terminating(pod):
            return []
        if pod.metadata.labels.get(_REVISION_LABEL) != revision:
            return [delete_pod(pod)]
        if not is_available(pod, stateful_set.spec.min_ready_seconds, now):
            return []
    return []


def _new_ordinal_pod(stateful_set: AppsObject, ordinal: int, revision: str) -> Write:
    name = _pod_name(stateful_set, ordinal)
    labels = {
        "apps.kubernetes.io/pod-index": str(ordinal),
        "statefulset.kubernetes.io/pod-name": name,
        _REVISION_LABEL: revision,
    }
    spec = {"hostname": name, "subdomain": stateful_set.spec.service_name}
    return new_pod(
        STATEFUL_SETS, stateful_set, name, labels=labels, spec={k: v for k, v in spec.items() if v}
    )


def _status(
    stateful_set: AppsObject, alive: list[Pod], revision: str, now: datetime
) -> dict[str, Any]:
    updated = [pod for pod in alive if pod.metadata.labels.get(_REVISION_LABEL) == revision]
    available = [p for p in alive if is_available(p, stateful_set.spec.min_ready_seconds, now)]
    update_revision = f"{stateful_set.metadata.name}-{revision}"
    current = str(stateful_set.status.get("currentRevision") or update_revision)
    if len(updated) == len(alive) == stateful_set.spec.replicas and len(available) == len(alive):
        current = update_revision
    on_current = len(updated) if current == update_revision else len(alive) - len(updated)
    return {
        "observedGeneration": stateful_set.metadata.generation,
        "replicas": len(alive),
        "readyReplicas": sum(is_ready(pod) for pod in alive),
        "availableReplicas": len(available),
        "currentReplicas": on_current,
        "updatedReplicas": len(updated),
        "currentRevision": current,
        "updateRevision": update_revision,
    }


def _is_parallel(stateful_set: AppsObject) -> bool:
    return stateful_set.spec.pod_management_policy == "Parallel"


def _ordinal_of(name: str) -> int:
    last = name.rpartition("-")[2]
    return int(last) if last.isdigit() else -1
