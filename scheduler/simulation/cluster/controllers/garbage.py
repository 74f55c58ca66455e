"""The garbage collector for the kinds that are watched here (Kubernetes: Garbage Collection).

Background: what lost all its owners goes. Foreground and orphan deletion are finalizers that this
controller works off. A server that collects by itself only saves us the work.
"""

from datetime import datetime

from scheduler.control.ports.hub import ApiResource
from scheduler.simulation.cluster.mirror import Mirror, Name
from scheduler.simulation.cluster.objects import BY_KIND, OwnerReference, View
from scheduler.simulation.cluster.plan import NOTHING, Orphaned, Patch, Plan, Remove, Write

_FOREGROUND = "foregroundDeletion"
_ORPHAN = "orphan"
_SETTLE_SECONDS = 1.0  # an owner's watch may be behind its dependents'


def plan_collection(mirror: Mirror, resource: ApiResource, name: Name, now: datetime) -> Plan:
    """What garbage collection owes one object, as an owner and as a dependent."""
    view = mirror.find(resource, name)
    if view is None:
        return NOTHING
    if view.metadata.deletion_timestamp is not None:
        return Plan(_before_it_goes(mirror, resource, name, view))
    owners = view.metadata.owner_references
    if not owners or any(_lives(mirror, view, owner) for owner in owners):
        return NOTHING
    born = view.metadata.creation_timestamp
    age_seconds = (now - born).total_seconds() if born else _SETTLE_SECONDS
    if age_seconds < _SETTLE_SECONDS:
        return Plan(again_seconds=_SETTLE_SECONDS - age_seconds)
    return Plan([Orphaned(resource, name)])


def _lives(mirror: Mirror, view: View, owner: OwnerReference) -> bool:
    """Whether an owner is there; of kinds that are not watched we cannot say that it is not."""
    resource = BY_KIND.get(owner.kind)
    if resource is None or resource.api_version != owner.api_version:
        return True
    namespace = view.metadata.namespace if resource.namespaced else ""
    found = mirror.find(resource, (namespace, owner.name))
    return found is not None and found.metadata.uid == owner.uid


def _before_it_goes(mirror: Mirror, resource: ApiResource, name: Name, view: View) -> list[Write]:
    finalizers = view.metadata.finalizers
    dependents = [
        (kind, dependent, found)
        for kind, dependent in mirror.owned_names(view.metadata.uid)
        if (found := mirror.find(kind, dependent)) is not None
    ]
    if _ORPHAN in finalizers:
        writes: list[Write] = [
            Patch(kind, dependent, {"metadata": {"ownerReferences": _others(found, view)}})
            for kind, dependent, found in dependents
        ]
        return [*writes, _without(resource, name, view, _ORPHAN)]
    if _FOREGROUND in finalizers:
        if not dependents:
            return [_without(resource, name, view, _FOREGROUND)]
        return [
            Remove(kind, dependent, found.metadata.uid)
            for kind, dependent, found in dependents
            if found.metadata.deletion_timestamp is None
        ]
    return []


def _others(dependent: View, owner: View) -> list[dict[str, object]]:
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


def _without(resource: ApiResource, name: Name, view: View, finalizer: str) -> Patch:
    left = [one for one in view.metadata.finalizers if one != finalizer]
    meta = {"finalizers": left or None, "resourceVersion": view.metadata.resource_version}
    return Patch(resource, name, {"metadata": meta})
