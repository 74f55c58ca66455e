"""The garbage collector for the kinds that are watched here (Kubernetes: Garbage Collection).

Background deletion: an object whose owners are all gone is deleted. Foreground and orphan deletion:
the owner has a finalizer, which this controller processes and removes. On a server that collects
garbage itself, nothing is left to do.
"""

from datetime import datetime

from scheduler.control.ports.hub import ApiResource
from scheduler.simulation.cluster.mirror import Mirror, NamespacedName
from scheduler.simulation.cluster.objects import RESOURCES_BY_KIND, ObjectView, OwnerReference
from scheduler.simulation.cluster.plan import (
    NO_CHANGE,
    ControllerPlan,
    Delete,
    DeleteIfOrphaned,
    Patch,
    Write,
)

_FOREGROUND = "foregroundDeletion"
_ORPHAN = "orphan"
_MIN_AGE_SECONDS = 1.0  # the watch of the owners may lag behind the watch of the dependents


def plan_garbage_collection(
    mirror: Mirror, resource: ApiResource, name: NamespacedName, now: datetime
) -> ControllerPlan:
    """Collects garbage around one object, both as an owner and as a dependent."""
    view = mirror.find(resource, name)
    if view is None:
        return NO_CHANGE
    if view.metadata.deletion_timestamp is not None:
        return ControllerPlan(_finalizer_writes(mirror, resource, name, view))
    owners = view.metadata.owner_references
    if not owners or any(_is_owner_present(mirror, view, owner) for owner in owners):
        return NO_CHANGE
    born = view.metadata.creation_timestamp
    age_seconds = (now - born).total_seconds() if born else _MIN_AGE_SECONDS
    if age_seconds < _MIN_AGE_SECONDS:
        return ControllerPlan(requeue_after_seconds=_MIN_AGE_SECONDS - age_seconds)
    return ControllerPlan([DeleteIfOrphaned(resource, name)])


def _is_owner_present(mirror: Mirror, view: ObjectView, owner: OwnerReference) -> bool:
    """Whether an owner exists; owners of kinds that are not watched count as existing."""
    resource = RESOURCES_BY_KIND.get(owner.kind)
    if resource is None or resource.api_version != owner.api_version:
        return True
    namespace = view.metadata.namespace if resource.namespaced else ""
    found = mirror.find(resource, (namespace, owner.name))
    return found is not None and found.metadata.uid == owner.uid


def _finalizer_writes(
    mirror: Mirror, resource: ApiResource, name: NamespacedName, view: ObjectView
) -> list[Write]:
    finalizers = view.metadata.finalizers
    dependents = [
        (kind, dependent, found)
        for kind, dependent in mirror.dependents_of(view.metadata.uid)
        if (found := mirror.find(kind, dependent)) is not None
    ]
    if _ORPHAN in finalizers:
        writes: list[Write] = [
            Patch(
                resource=kind,
                name=dependent,
                body={"metadata": {"ownerReferences": _other_owners(found, view)}},
            )
            for kind, dependent, found in dependents
        ]
        return [*writes, _remove_finalizer(resource, name, view, _ORPHAN)]
    if _FOREGROUND in finalizers:
        if not dependents:
            return [_remove_finalizer(resource, name, view, _FOREGROUND)]
        return [
            Delete(resource=kind, name=dependent, uid=found.metadata.uid)
            for kind, dependent, found in dependents
            if found.metadata.deletion_timestamp is None
        ]
    return []


def _other_owners(dependent: ObjectView, owner: ObjectView) -> list[dict[str, object]]:
    return [
        {
            "apiVersion": one.api_version,
            "kind": one.kind,
            "name": one.name,
            "uid": one.uid,
            "controller": one.controller,
        }
        for one in dependent.metadata.owner_references
        if one.uid != owner.metadata.uid
    ]


def _remove_finalizer(
    resource: ApiResource, name: NamespacedName, view: ObjectView, finalizer: str
) -> Patch:
    left = [one for one in view.metadata.finalizers if one != finalizer]
    meta = {"finalizers": left or None, "resourceVersion": view.metadata.resource_version}
    return Patch(resource=resource, name=name, body={"metadata": meta})
