"""Functions that all controllers of pods share: create, adopt and delete pods, and their state."""

import hashlib
import json
from datetime import datetime, timedelta
from typing import Any

from scheduler.control.ports.hub import ApiResource, Object
from scheduler.simulation.cluster.mirror import Mirror, name_of
from scheduler.simulation.cluster.objects import (
    DEPLOYMENTS,
    PODS,
    REPLICA_SETS,
    AppsObject,
    CronJob,
    Job,
    Pod,
)
from scheduler.simulation.cluster.plan import Create, Delete, Patch, Write

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes' own: no vowels, no words


def name_safe_hash(value: Any, length: int) -> str:  # noqa: ANN401 - any JSON
    """A name-safe hash of any JSON value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:12], "big")
    letters = ""
    for _ in range(length):
        number, rest = divmod(number, len(_ALPHABET))
        letters += _ALPHABET[rest]
    return letters


def owner_reference(resource: ApiResource, owner: AppsObject | Job | CronJob) -> Object:
    """The owner reference of objects that `owner` controls."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": owner.metadata.name,
        "uid": owner.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def adoption_patches(mirror: Mirror, resource: ApiResource, owner: AppsObject) -> list[Write]:
    """Patches by which `owner` adopts what its selector matches and no controller owns.

    Pods and ReplicaSets lose their controller by `kubectl delete --cascade=orphan`. As in
    Kubernetes, a controller adopts them when it is created again, instead of creating second ones.

    Args:
        mirror: the cluster.
        resource: the owner's resource; a Deployment adopts ReplicaSets, all others adopt pods.
        owner: an object with a selector; an empty selector adopts nothing.
    """
    if owner.spec.selector.is_empty:
        return []
    adoptable = REPLICA_SETS if resource is DEPLOYMENTS else PODS
    namespace = owner.metadata.namespace
    return [
        Patch(
            resource=adoptable,
            name=name_of(one),
            body={"metadata": {"ownerReferences": [owner_reference(resource, owner)]}},
        )
        for one in mirror.orphans(adoptable)
        if one.metadata.namespace == namespace
        and one.metadata.deletion_timestamp is None
        and owner.spec.selector.matches(one.metadata.labels)
    ]


def new_pod(
    resource: ApiResource,
    owner: AppsObject | Job,
    name: str,
    *,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    spec: Object | None = None,
) -> Create:
    """Creates a pod from the owner's template.

    Args:
        resource: the owner's resource.
        owner: gives template and namespace.
        name: the pod's name.
        labels: added to the template's labels.
        annotations: added to the template's annotations.
        spec: replaces fields of the template's spec.
    """
    template = owner.spec.template
    meta = template.get("metadata") or {}
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": owner.metadata.namespace,
            "labels": {**(meta.get("labels") or {}), **(labels or {})},
            "annotations": {**(meta.get("annotations") or {}), **(annotations or {})},
            "ownerReferences": [owner_reference(resource, owner)],
        },
        "spec": {**(template.get("spec") or {}), **(spec or {})},
    }
    return Create(PODS, body)


def delete_pod(pod: Pod) -> Delete:
    """Deletes a pod with its grace period; the kubelet ends it."""
    return Delete(resource=PODS, name=name_of(pod), uid=pod.metadata.uid)


def is_terminating(pod: Pod) -> bool:
    """Whether the pod is being deleted."""
    return pod.metadata.deletion_timestamp is not None


def is_finished(pod: Pod) -> bool:
    """Whether the pod has succeeded or failed."""
    return pod.status.phase in ("Succeeded", "Failed")


def is_active(pod: Pod) -> bool:
    """Whether the pod counts as a replica: neither terminating nor finished."""
    return not is_terminating(pod) and not is_finished(pod)


def _ready_at(pod: Pod) -> datetime | None:
    for condition in pod.status.conditions:
        if condition.get("type") == "Ready" and condition.get("status") == "True":
            text = str(condition.get("lastTransitionTime") or "1970-01-01T00:00:00Z")
            return datetime.fromisoformat(text)
    return None


def is_ready(pod: Pod) -> bool:
    """Whether the pod's condition Ready is True."""
    return _ready_at(pod) is not None


def is_available(pod: Pod, min_ready_seconds: int, now: datetime) -> bool:
    """Whether the pod has been ready for `min_ready_seconds`."""
    since = _ready_at(pod)
    if since is None:
        return False
    return not min_ready_seconds or since + timedelta(seconds=min_ready_seconds) <= now


def seconds_until_available(pods: list[Pod], min_ready_seconds: int, now: datetime) -> float | None:
    """Seconds until the next ready pod becomes available; None: none is about to."""
    if not min_ready_seconds:
        return None
    sinces = [_ready_at(pod) for pod in pods]
    ends = [since + timedelta(seconds=min_ready_seconds) for since in sinces if since]
    waits = [(end - now).total_seconds() for end in ends if end > now]
    return min(waits, default=None)


def resolve_percentage(
    value: int | str | None, total: int, *, default: int | str, round_up: bool
) -> int:
    """Resolves a value such as `maxSurge`: a number, or a percentage of `total`.

    Args:
        value: the value; None: use `default`.
        total: what a percentage refers to.
        default: value of a missing field.
        round_up: whether a fraction is rounded up.
    """
    value = default if value is None else value
    if isinstance(value, str) and value.endswith("%"):
        parts = int(value[:-1]) * total
        return -(-parts // 100) if round_up else parts // 100
    return int(value)
