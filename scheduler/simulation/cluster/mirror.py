"""The objects of one member cluster, from its watches and from the answers to our own writes.

The answer to a write is stored at once, so a controller does not repeat the write while its watch
lags. An older watch event that arrives later is recognised by its resourceVersion and dropped.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TypeVar

from scheduler.control.ports.hub import ApiResource
from scheduler.simulation.cluster.objects import (
    CRON_JOBS,
    JOBS,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    AppsObject,
    CronJob,
    Job,
    ObjectView,
    Pod,
    SimulatedNamespace,
    SimulatedNode,
)
from scheduler.simulation.cluster.requests import requests_of

NamespacedName = tuple[str, str]
"""(namespace or "", name)"""

OnChange = Callable[[ApiResource, ObjectView | None, ObjectView | None], None]
"""Called with (resource, before, after); None means absent."""

_T = TypeVar("_T", bound=ObjectView)
_MAX_TOMBSTONES = 20_000  # uids remembered after deletion; far more than events under way


class Mirror:
    """The objects of one cluster, indexed by owner and, for pods, by node.

    Args:
        on_change: called after each change, except assumptions.
    """

    def __init__(self, on_change: OnChange) -> None:
        self._on_change = on_change
        self._objects: dict[ApiResource, dict[NamespacedName, ObjectView]] = {}
        self._by_owner: dict[str, dict[tuple[ApiResource, NamespacedName], ObjectView]] = {}
        self._by_node: dict[str, dict[NamespacedName, Pod]] = {}
        self._orphans: dict[ApiResource, dict[NamespacedName, ObjectView]] = {
            PODS: {},
            REPLICA_SETS: {},
        }
        self._requested: dict[str, Counter[str]] = {}
        self._tombstones: OrderedDict[str, None] = OrderedDict()
        self._bound_at: dict[str, datetime] = {}
        self._assumed: dict[NamespacedName, tuple[ObjectView, Pod]] = {}
        self._running_at: dict[str, datetime] = {}

    # ------------------------------------------------------------ writing

    def put(self, resource: ApiResource, view: ObjectView, now: datetime) -> None:
        """Stores an object of the API, unless a newer version or its deletion is known.

        Args:
            resource: its resource.
            view: the object.
            now: the current time, for `bound_at` and `running_at`.
        """
        name = name_of(view)
        before = self._objects.get(resource, {}).get(name)
        if view.metadata.uid in self._tombstones or (before and not _is_newer(view, before)):
            return
        if before is not None:
            self._unlink(resource, name, before)
        if resource is PODS:
            self._assumed.pop(name, None)
        self._objects.setdefault(resource, {})[name] = view
        self._link(resource, name, view, now)
        self._on_change(resource, before, view)

    def assume(self, pod: Pod, now: datetime) -> None:
        """Counts a pod as bound while the binding is under way; no change is announced."""
        name = name_of(pod)
        before = self._objects[PODS][name]
        self._assumed[name] = (before, pod)
        self._unlink(PODS, name, before)
        self._objects[PODS][name] = pod
        self._link(PODS, name, pod, now)

    def forget_assumed(self, name: NamespacedName) -> None:
        """Takes `assume` back, unless the API has shown the pod meanwhile."""
        if name not in self._assumed:
            return
        before, assumed = self._assumed.pop(name)
        if self._objects[PODS].get(name) is not assumed:
            return
        self._unlink(PODS, name, assumed)
        self._bound_at.pop(before.metadata.uid, None)
        self._objects[PODS][name] = before

    def tombstone(self, resource: ApiResource, view: ObjectView) -> None:
        """Removes a deleted object, and ignores all later events about its uid, which are old."""
        self._tombstones[view.metadata.uid] = None
        while len(self._tombstones) > _MAX_TOMBSTONES:
            self._tombstones.popitem(last=False)
        self._bound_at.pop(view.metadata.uid, None)
        self._running_at.pop(view.metadata.uid, None)
        name = name_of(view)
        before = self._objects.get(resource, {}).get(name)
        if before is None or before.metadata.uid != view.metadata.uid:
            return
        del self._objects[resource][name]
        self._unlink(resource, name, before)
        self._on_change(resource, before, None)

    def _link(
        self, resource: ApiResource, name: NamespacedName, view: ObjectView, now: datetime
    ) -> None:
        for owner in view.metadata.owner_references:
            self._by_owner.setdefault(owner.uid, {})[resource, name] = view
        if resource in self._orphans and view.metadata.controller is None:
            self._orphans[resource][name] = view
        if isinstance(view, Pod) and view.spec.node_name:
            self._by_node.setdefault(view.spec.node_name, {})[name] = view
            self._change_requested(view, 1)
            self._bound_at.setdefault(view.metadata.uid, now)
            if view.status.phase == "Running":
                self._running_at.setdefault(view.metadata.uid, now)

    def _unlink(self, resource: ApiResource, name: NamespacedName, view: ObjectView) -> None:
        for owner in view.metadata.owner_references:
            owned = self._by_owner.get(owner.uid, {})
            owned.pop((resource, name), None)
            if not owned:
                self._by_owner.pop(owner.uid, None)
        if resource in self._orphans:
            self._orphans[resource].pop(name, None)
        if isinstance(view, Pod) and view.spec.node_name:
            self._by_node.get(view.spec.node_name, {}).pop(name, None)
            self._change_requested(view, -1)

    def _change_requested(self, pod: Pod, sign: int) -> None:
        if pod.status.phase in ("Succeeded", "Failed"):
            return
        used = self._requested.setdefault(pod.spec.node_name, Counter())
        for resource, amount in requests_of(pod).items():
            used[resource] += sign * amount

    # ------------------------------------------------------------ reading

    def pod(self, name: NamespacedName) -> Pod | None:
        """A pod; None: not found."""
        return self._get(PODS, name, Pod)

    def node(self, name: str) -> SimulatedNode | None:
        """A node; None: not found."""
        return self._get(NODES, ("", name), SimulatedNode)

    def apps_object(self, resource: ApiResource, name: NamespacedName) -> AppsObject | None:
        """A Deployment, ReplicaSet, StatefulSet or DaemonSet; None: not found."""
        return self._get(resource, name, AppsObject)

    def job(self, name: NamespacedName) -> Job | None:
        """A Job; None: not found."""
        return self._get(JOBS, name, Job)

    def cron_job(self, name: NamespacedName) -> CronJob | None:
        """A CronJob; None: not found."""
        return self._get(CRON_JOBS, name, CronJob)

    def namespace(self, name: str) -> SimulatedNamespace | None:
        """A namespace; None: not found."""
        return self._get(NAMESPACES, ("", name), SimulatedNamespace)

    def find(self, resource: ApiResource, name: NamespacedName) -> ObjectView | None:
        """An object of any resource; None: not found."""
        return self._objects.get(resource, {}).get(name)

    def _get(self, resource: ApiResource, name: NamespacedName, kind: type[_T]) -> _T | None:
        found = self._objects.get(resource, {}).get(name)
        return found if isinstance(found, kind) else None

    def names(self, resource: ApiResource) -> list[NamespacedName]:
        """All names of one resource."""
        return list(self._objects.get(resource, {}))

    def nodes(self) -> list[SimulatedNode]:
        """All nodes, by name."""
        found = self._objects.get(NODES, {}).values()
        return sorted(
            (n for n in found if isinstance(n, SimulatedNode)), key=lambda n: n.metadata.name
        )

    def pods(self) -> Iterator[Pod]:
        """All pods."""
        return (pod for pod in self._objects.get(PODS, {}).values() if isinstance(pod, Pod))

    def pods_on(self, node: str) -> list[Pod]:
        """Pods bound to a node, finished ones too."""
        return list(self._by_node.get(node, {}).values())

    def requested_on(self, node: str) -> Mapping[str, int]:
        """Resources that the unfinished pods of a node request."""
        return self._requested.get(node, Counter())

    def pods_of(self, uid: str) -> list[Pod]:
        """Pods of an owner, by name."""
        return sorted(self._owned(uid, Pod), key=lambda pod: pod.metadata.name)

    def replica_sets_of(self, uid: str) -> list[AppsObject]:
        """ReplicaSets of a Deployment, by name."""
        return sorted(self._owned(uid, AppsObject), key=lambda one: one.metadata.name)

    def jobs_of(self, uid: str) -> list[Job]:
        """Jobs of a CronJob, by name."""
        return sorted(self._owned(uid, Job), key=lambda one: one.metadata.name)

    def _owned(self, uid: str, kind: type[_T]) -> list[_T]:
        found = self._by_owner.get(uid, {}).values()
        return [view for view in found if isinstance(view, kind)]

    def dependents_of(self, uid: str) -> list[tuple[ApiResource, NamespacedName]]:
        """All objects with an owner reference to this uid."""
        return list(self._by_owner.get(uid, {}))

    def orphans(self, resource: ApiResource) -> list[ObjectView]:
        """Pods or ReplicaSets without a controller."""
        return list(self._orphans[resource].values())

    def bound_at(self, pod: Pod) -> datetime | None:
        """When this process first saw the pod on a node."""
        return self._bound_at.get(pod.metadata.uid)

    def running_at(self, pod: Pod) -> datetime | None:
        """When this process first saw the pod running."""
        return self._running_at.get(pod.metadata.uid)


def name_of(view: ObjectView) -> NamespacedName:
    """Namespace and name of an object; the namespace is empty for cluster-wide kinds."""
    return (view.metadata.namespace, view.metadata.name)


def _is_newer(view: ObjectView, before: ObjectView) -> bool:
    """Whether `view` is newer (KEP-5504: resource versions are integers that can be compared)."""
    try:
        return int(view.metadata.resource_version) > int(before.metadata.resource_version)
    except ValueError:
        return view.metadata.resource_version != before.metadata.resource_version
