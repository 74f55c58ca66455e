"""Which keys a change asks to be looked at, and how soon.

What changed is looked at at once; its owners a little later, so that ten pods that become ready are
counted in one write.
"""

from collections.abc import Iterator

from scheduler.control.ports.hub import ApiResource
from scheduler.simulation.cluster.mirror import Mirror, Name
from scheduler.simulation.cluster.objects import (
    BY_KIND,
    DAEMON_SETS,
    NAMESPACES,
    NODES,
    PODS,
    Node,
    Pod,
    View,
)
from scheduler.simulation.cluster.podwork import is_active, is_over

CONTROL, LIVE, COLLECT, NAMESPACE = "control", "live", "collect", "namespace"

Key = tuple[str, ApiResource, Name]
"""(what to do: one of the four above, with what, name)"""

_Asked = tuple[Key, float]
"""A key, and the seconds after which it is to be looked at."""

_COUNT_SECONDS = 0.05


class Reactions:
    """Follows the changes of one cluster; knows which pods wait for a node."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._unplaced: set[Name] = set()

    def to(
        self, resource: ApiResource, before: View | None, after: View | None
    ) -> Iterator[_Asked]:
        """What a change asks for.

        Args:
            resource: of what changed.
            before: the object before; None when it is new.
            after: the object now; None when it has gone.
        """
        view = after or before
        if view is None:
            return
        name = (view.metadata.namespace, view.metadata.name)
        yield from ((key, 0.0) for key in _own_keys(resource, name))
        yield from self._owners(view)
        if after is None:
            owned = self._mirror.owned_names(view.metadata.uid)
            yield from (((COLLECT, *dependent), 0.0) for dependent in owned)
        if isinstance(view, Node):
            yield from self._node(view)
        if isinstance(view, Pod):
            yield from self._pod(name, before, after)

    def _owners(self, view: View) -> Iterator[_Asked]:
        for owner in view.metadata.owner_references:
            resource = BY_KIND.get(owner.kind)
            if resource is not None:
                name = (view.metadata.namespace, owner.name)
                yield (CONTROL, resource, name), _COUNT_SECONDS
                yield (COLLECT, resource, name), _COUNT_SECONDS

    def _node(self, node: Node) -> Iterator[_Asked]:
        for name in self._mirror.names(DAEMON_SETS):
            yield (CONTROL, DAEMON_SETS, name), _COUNT_SECONDS
        for pod in self._mirror.pods_on(node.metadata.name):
            yield (LIVE, PODS, (pod.metadata.namespace, pod.metadata.name)), 0.0
        yield from self._waiting_pods()

    def _pod(self, name: Name, before: View | None, after: View | None) -> Iterator[_Asked]:
        if isinstance(after, Pod) and not after.spec.node_name and is_active(after):
            self._unplaced.add(name)
        else:
            self._unplaced.discard(name)
        held_room = isinstance(before, Pod) and bool(before.spec.node_name) and not is_over(before)
        if held_room and (not isinstance(after, Pod) or is_over(after)):
            yield from self._waiting_pods()

    def _waiting_pods(self) -> Iterator[_Asked]:
        yield from (((LIVE, PODS, name), _COUNT_SECONDS) for name in self._unplaced)


def _own_keys(resource: ApiResource, name: Name) -> list[Key]:
    """What a change of an object asks for, of itself."""
    if resource is NAMESPACES:
        return [(NAMESPACE, NAMESPACES, name)]
    if resource is NODES:
        return [(LIVE, NODES, name)]
    collect = (COLLECT, resource, name)
    if resource is PODS:
        return [(LIVE, PODS, name), collect]
    return [(CONTROL, resource, name), collect]
