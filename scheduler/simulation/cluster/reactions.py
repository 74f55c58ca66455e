"""Which keys to queue after a change, and after what delay.

The changed object is processed at once, its owners a little later, so that ten pods that become
ready cost one status write of their owner.
"""

from collections.abc import Iterator

from scheduler.control.ports.hub import ApiResource
from scheduler.simulation.cluster.mirror import Mirror, NamespacedName, name_of
from scheduler.simulation.cluster.objects import (
    DAEMON_SETS,
    DISRUPTION_BUDGETS,
    NAMESPACES,
    NODES,
    PODS,
    RESOURCE_QUOTAS,
    RESOURCES_BY_KIND,
    ObjectView,
    Pod,
    SimulatedNode,
)
from scheduler.simulation.cluster.pods import is_active, is_finished

RECONCILE, RUN_LIFECYCLE, COLLECT_GARBAGE, HANDLE_NAMESPACE = (
    "control",
    "live",
    "collect",
    "namespace",
)

TaskKey = tuple[str, ApiResource, NamespacedName]
"""Task (one of the four above), resource, and namespace and name."""

_DelayedKey = tuple[TaskKey, float]
"""A key, and the delay in seconds after which to process it."""

_OWNER_DELAY_SECONDS = 0.05


class ChangeHandler:
    """Translates changes of one cluster into keys; remembers which pods are not bound yet."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._pending: set[NamespacedName] = set()

    def keys_for(
        self, resource: ApiResource, before: ObjectView | None, after: ObjectView | None
    ) -> Iterator[_DelayedKey]:
        """The keys to queue after a change.

        Args:
            resource: resource of the changed object.
            before: the object before; None: it is new.
            after: the object now; None: it is gone.
        """
        view = after or before
        if view is None:
            return
        name = name_of(view)
        yield from ((key, 0.0) for key in _own_keys(resource, name))
        yield from self._owner_keys(view)
        if after is None:
            owned = self._mirror.dependents_of(view.metadata.uid)
            yield from (((COLLECT_GARBAGE, *dependent), 0.0) for dependent in owned)
        if isinstance(view, SimulatedNode):
            yield from self._node_keys(view)
        if isinstance(view, Pod):
            yield from self._pod_keys(name, before, after)

    def _owner_keys(self, view: ObjectView) -> Iterator[_DelayedKey]:
        for owner in view.metadata.owner_references:
            resource = RESOURCES_BY_KIND.get(owner.kind)
            if resource is not None:
                name = (view.metadata.namespace, owner.name)
                yield (RECONCILE, resource, name), _OWNER_DELAY_SECONDS
                yield (COLLECT_GARBAGE, resource, name), _OWNER_DELAY_SECONDS

    def _node_keys(self, node: SimulatedNode) -> Iterator[_DelayedKey]:
        for name in self._mirror.names(DAEMON_SETS):
            yield (RECONCILE, DAEMON_SETS, name), _OWNER_DELAY_SECONDS
        for pod in self._mirror.pods_on(node.metadata.name):
            yield (RUN_LIFECYCLE, PODS, name_of(pod)), 0.0
        yield from self._pending_pod_keys()

    def _pod_keys(
        self, name: NamespacedName, before: ObjectView | None, after: ObjectView | None
    ) -> Iterator[_DelayedKey]:
        if isinstance(after, Pod) and not after.spec.node_name and is_active(after):
            self._pending.add(name)
        else:
            self._pending.discard(name)
        for resource in (DISRUPTION_BUDGETS, RESOURCE_QUOTAS):
            for counting in self._mirror.names(resource):
                if counting[0] == name[0]:
                    yield (RECONCILE, resource, counting), _OWNER_DELAY_SECONDS
        held_capacity = (
            isinstance(before, Pod) and bool(before.spec.node_name) and not is_finished(before)
        )
        if held_capacity and (not isinstance(after, Pod) or is_finished(after)):
            yield from self._pending_pod_keys()

    def _pending_pod_keys(self) -> Iterator[_DelayedKey]:
        yield from (((RUN_LIFECYCLE, PODS, name), _OWNER_DELAY_SECONDS) for name in self._pending)


def _own_keys(resource: ApiResource, name: NamespacedName) -> list[TaskKey]:
    """Keys of the changed object itself."""
    if resource is NAMESPACES:
        return [(HANDLE_NAMESPACE, NAMESPACES, name)]
    if resource is NODES:
        return [(RUN_LIFECYCLE, NODES, name)]
    collect = (COLLECT_GARBAGE, resource, name)
    if resource is PODS:
        return [(RUN_LIFECYCLE, PODS, name), collect]
    return [(RECONCILE, resource, name), collect]
