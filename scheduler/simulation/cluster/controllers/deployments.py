"""The Deployment controller: one ReplicaSet per pod template, and rolling updates between them.

It scales by the rules of kube-controller-manager (pkg/controller/deployment): never more than
`replicas + maxSurge` pods, never fewer than `replicas - maxUnavailable` available ones.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scheduler.simulation.cluster.mirror import Mirror, NamespacedName, name_of
from scheduler.simulation.cluster.objects import DEPLOYMENTS, REPLICA_SETS, AppsObject
from scheduler.simulation.cluster.plan import (
    NO_CHANGE,
    ControllerPlan,
    Create,
    Delete,
    Patch,
    Write,
    merge_conditions,
    status_patch,
)
from scheduler.simulation.cluster.pods import (
    adoption_patches,
    name_safe_hash,
    owner_reference,
    resolve_percentage,
)

_HASH_LABEL = "pod-template-hash"
_REVISION_ANNOTATION = "deployment.kubernetes.io/revision"


@dataclass(frozen=True, slots=True)
class _RolloutBounds:
    wanted: int
    max_total: int
    min_available: int


@dataclass(frozen=True, slots=True)
class _ReplicaSets:
    current: AppsObject | None
    old: list[AppsObject]

    @property
    def all(self) -> list[AppsObject]:
        return [*self.old, *([self.current] if self.current else [])]


def plan_deployment(mirror: Mirror, name: NamespacedName, now: datetime) -> ControllerPlan:
    """Creates the ReplicaSet of the current template, moves replicas to it, updates the status."""
    deployment = mirror.apps_object(DEPLOYMENTS, name)
    if deployment is None or deployment.metadata.deletion_timestamp:
        return NO_CHANGE
    if adopted := adoption_patches(mirror, DEPLOYMENTS, deployment):
        return ControllerPlan(adopted)
    sets = _replica_sets_of(mirror, deployment)
    writes = _rollout(mirror, deployment, sets)
    status, failing_at = _status(deployment, sets, now)
    writes += status_patch(DEPLOYMENTS, name, deployment.status, status)
    return ControllerPlan(writes, requeue_after_seconds=failing_at)


def template_hash(deployment: AppsObject) -> str:
    """The `pod-template-hash` of the current template."""
    return name_safe_hash(deployment.spec.template, 10)


def _replica_sets_of(mirror: Mirror, deployment: AppsObject) -> _ReplicaSets:
    wanted = template_hash(deployment)
    sets = [
        s
        for s in mirror.replica_sets_of(deployment.metadata.uid)
        if not s.metadata.deletion_timestamp
    ]
    current = next((s for s in sets if s.metadata.labels.get(_HASH_LABEL) == wanted), None)
    return _ReplicaSets(current, [one for one in sets if one is not current])


def _rollout(mirror: Mirror, deployment: AppsObject, sets: _ReplicaSets) -> list[Write]:
    bounds = _bounds(deployment)
    running_old = [one for one in sets.old if one.spec.replicas or mirror.pods_of(one.metadata.uid)]
    if sets.current is None:
        return _create_set(deployment, sets, running_old, bounds)
    if deployment.spec.paused:
        return _scale(sets.current, bounds.wanted) if not running_old else []
    if deployment.spec.strategy.type == "Recreate":
        return _recreate(sets.current, running_old, bounds)
    writes = _bump_revision(sets.current, sets.old)
    writes += _scale_up(sets, bounds)
    writes += [] if writes else _scale_down(sets, bounds)
    return writes + _delete_old_sets(deployment, sets.old)


def _create_set(
    deployment: AppsObject,
    sets: _ReplicaSets,
    running_old: list[AppsObject],
    bounds: _RolloutBounds,
) -> list[Write]:
    if deployment.spec.paused and sets.old:
        return []
    if not running_old:
        replicas = bounds.wanted
    elif deployment.spec.strategy.type == "Recreate":
        replicas = 0
    else:
        replicas = max(0, min(bounds.wanted, bounds.max_total - _total_replicas(sets.old)))
    return [_new_set(deployment, sets.old, replicas)]


def _recreate(
    current: AppsObject, running_old: list[AppsObject], bounds: _RolloutBounds
) -> list[Write]:
    if running_old:
        return [write for one in running_old for write in _scale(one, 0)]
    return _scale(current, bounds.wanted)


def _scale_up(sets: _ReplicaSets, bounds: _RolloutBounds) -> list[Write]:
    current = sets.current
    if current is None or current.spec.replicas == bounds.wanted:
        return []
    if current.spec.replicas > bounds.wanted:
        return _scale(current, bounds.wanted)
    more = bounds.max_total - _total_replicas(sets.all)
    return _scale(current, min(bounds.wanted, current.spec.replicas + max(0, more)))


def _scale_down(sets: _ReplicaSets, bounds: _RolloutBounds) -> list[Write]:
    current = sets.current
    if current is None or not _total_replicas(sets.old):
        return []
    unready = current.spec.replicas - _status_count(current, "availableReplicas")
    removable = _total_replicas(sets.all) - bounds.min_available - unready
    spare = sum(_status_count(one, "availableReplicas") for one in sets.all) - bounds.min_available
    writes: list[Write] = []
    for one in sets.old:
        # Removing unavailable pods costs no availability, so they are removed first.
        broken = one.spec.replicas - _status_count(one, "availableReplicas")
        first = max(0, min(broken, removable))
        removable -= first
        second = max(0, min(one.spec.replicas - first, spare, removable))
        spare, removable = spare - second, removable - second
        writes += _scale(one, one.spec.replicas - first - second)
    return writes


def _scale(one: AppsObject, replicas: int) -> list[Write]:
    if one.spec.replicas == replicas:
        return []
    return [Patch(resource=REPLICA_SETS, name=name_of(one), body={"spec": {"replicas": replicas}})]


def _delete_old_sets(deployment: AppsObject, old: list[AppsObject]) -> list[Write]:
    empty = [s for s in old if not s.spec.replicas and not _status_count(s, "replicas")]
    empty.sort(key=_revision_of)
    surplus = len(empty) - deployment.spec.revision_history_limit
    return [
        Delete(resource=REPLICA_SETS, name=name_of(s), uid=s.metadata.uid)
        for s in empty[: max(0, surplus)]
    ]


def _bump_revision(current: AppsObject, old: list[AppsObject]) -> list[Write]:
    """Gives a template that returned a new revision, so `kubectl rollout history` lists it last."""
    newest = max((_revision_of(one) for one in old), default=0)
    if _revision_of(current) > newest:
        return []
    body = {"metadata": {"annotations": {_REVISION_ANNOTATION: str(newest + 1)}}}
    return [Patch(resource=REPLICA_SETS, name=name_of(current), body=body)]


def _new_set(deployment: AppsObject, old: list[AppsObject], replicas: int) -> Create:
    marks = {_HASH_LABEL: template_hash(deployment)}
    template = deployment.spec.template
    meta = template.get("metadata") or {}
    labels = {**(meta.get("labels") or {}), **marks}
    revision = 1 + max((_revision_of(one) for one in old), default=0)
    body = {
        "apiVersion": REPLICA_SETS.api_version,
        "kind": REPLICA_SETS.kind,
        "metadata": {
            "name": f"{deployment.metadata.name[:240]}-{marks[_HASH_LABEL]}",
            "namespace": deployment.metadata.namespace,
            "labels": labels,
            "annotations": {_REVISION_ANNOTATION: str(revision)},
            "ownerReferences": [owner_reference(DEPLOYMENTS, deployment)],
        },
        "spec": {
            "replicas": replicas,
            "minReadySeconds": deployment.spec.min_ready_seconds,
            "selector": _selector_with_hash(deployment, marks),
            "template": {**template, "metadata": {**meta, "labels": labels}},
        },
    }
    return Create(REPLICA_SETS, body)


def _selector_with_hash(deployment: AppsObject, hash_label: dict[str, str]) -> dict[str, Any]:
    selector = deployment.spec.selector
    found: dict[str, Any] = {"matchLabels": {**selector.match_labels, **hash_label}}
    if selector.match_expressions:
        found["matchExpressions"] = [
            {"key": one.key, "operator": one.operator, "values": one.values}
            if one.values
            else {"key": one.key, "operator": one.operator}
            for one in selector.match_expressions
        ]
    return found


def _bounds(deployment: AppsObject) -> _RolloutBounds:
    wanted = deployment.spec.replicas
    rolling = deployment.spec.strategy.rolling_update
    surge = resolve_percentage(rolling.max_surge, wanted, default="25%", round_up=True)
    missing = resolve_percentage(rolling.max_unavailable, wanted, default="25%", round_up=False)
    if not surge and not missing:
        missing = 1
    return _RolloutBounds(wanted, wanted + surge, max(0, wanted - missing))


def _status(
    deployment: AppsObject, sets: _ReplicaSets, now: datetime
) -> tuple[dict[str, Any], float | None]:
    wanted = deployment.spec.replicas
    available = sum(_status_count(one, "availableReplicas") for one in sets.all)
    replicas = sum(_status_count(one, "replicas") for one in sets.all)
    updated = _status_count(sets.current, "replicas") if sets.current else 0
    enough = available >= _bounds(deployment).min_available
    done = updated == replicas == wanted and available >= wanted
    before = deployment.status.get("conditions") or []
    progress, waits_seconds = _progress_condition(deployment, sets, done=done, now=now)
    return {
        "observedGeneration": deployment.metadata.generation,
        "replicas": replicas,
        "updatedReplicas": updated,
        "readyReplicas": sum(_status_count(one, "readyReplicas") for one in sets.all),
        "availableReplicas": available,
        "unavailableReplicas": max(0, max(wanted, replicas) - available),
        "conditions": merge_conditions(
            before, [_available_condition(enough=enough), progress], now
        ),
    }, waits_seconds


def _available_condition(*, enough: bool) -> tuple[str, bool, str, str]:
    if enough:
        message = "Deployment has minimum availability."
        return ("Available", True, "MinimumReplicasAvailable", message)
    message = "Deployment does not have minimum availability."
    return ("Available", False, "MinimumReplicasUnavailable", message)


def _progress_condition(
    deployment: AppsObject, sets: _ReplicaSets, *, done: bool, now: datetime
) -> tuple[tuple[str, bool, str, str], float | None]:
    name = sets.current.metadata.name if sets.current else ""
    message = f'ReplicaSet "{name}" has successfully progressed.'
    if done or _has_condition_message(
        deployment, message
    ):  # once it was complete, the deadline is over
        return ("Progressing", True, "NewReplicaSetAvailable", message), None
    born = sets.current.metadata.creation_timestamp if sets.current else None
    left = deployment.spec.progress_deadline_seconds - ((now - born).total_seconds() if born else 0)
    if left <= 0:
        message = f'ReplicaSet "{name}" has timed out progressing.'
        return ("Progressing", False, "ProgressDeadlineExceeded", message), None
    message = f'ReplicaSet "{name}" is progressing.'
    return ("Progressing", True, "ReplicaSetUpdated", message), left + 1


def _has_condition_message(deployment: AppsObject, message: str) -> bool:
    return any(one.get("message") == message for one in deployment.status.get("conditions") or [])


def _total_replicas(sets: list[AppsObject]) -> int:
    return sum(one.spec.replicas for one in sets)


def _status_count(one: AppsObject, name: str) -> int:
    return int(one.status.get(name) or 0)


def _revision_of(one: AppsObject) -> int:
    text = one.metadata.annotations.get(_REVISION_ANNOTATION, "0")
    return int(text) if text.isdigit() else 0
