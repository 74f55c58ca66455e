"""The namespace controller: creates the default service account, and empties deleted namespaces.

A bare API server keeps a deleted namespace until a controller has deleted its contents and removed
its finalizer. Some servers do that themselves; this controller waits a moment, so that it finds
nothing left to do on those.
"""

from collections.abc import Iterator

from scheduler.control.ports.hub import Conflict, NotFound, Object, Refused
from scheduler.hub.client import HubClient
from scheduler.simulation.cluster.effects import ClusterWriter
from scheduler.simulation.cluster.mirror import Mirror
from scheduler.simulation.cluster.objects import NAMESPACES

_RETRY_SECONDS = 1.0
_FINALIZER = "kubernetes"


class NamespaceController:
    """Initialises new namespaces, and empties those that are being deleted."""

    def __init__(self, *, client: HubClient, mirror: Mirror, effects: ClusterWriter) -> None:
        self._client = client
        self._mirror = mirror
        self._effects = effects
        self._initialised: set[str] = set()
        self._terminating: set[str] = set()

    async def handle(self, name: str) -> float | None:
        """Processes one namespace.

        Returns:
            Seconds after which to process it again; None: only when it changes.

        Raises:
            HubError: the API is busy; try again later.
        """
        namespace = self._mirror.namespace(name)
        if namespace is None:
            return None
        uid = namespace.metadata.uid
        if namespace.metadata.deletion_timestamp is None:
            if uid not in self._initialised:
                await self._effects.create_default_service_account(name)
                self._initialised.add(uid)
            return None
        if uid not in self._terminating:
            self._terminating.add(uid)
            return _RETRY_SECONDS
        return await self._finalise(name)

    async def _finalise(self, name: str) -> float | None:
        body = await self._get_namespace(name)
        if body is None or _FINALIZER not in (body.get("spec") or {}).get("finalizers", []):
            return None
        if await self._delete_contents(name):
            return _RETRY_SECONDS
        body["spec"]["finalizers"].remove(_FINALIZER)
        try:
            await self._client.raw("PUT", NAMESPACES.path(None, name) + "/finalize", body=body)
        except (NotFound, Conflict):
            return _RETRY_SECONDS
        return None

    async def _get_namespace(self, name: str) -> Object | None:
        try:
            return await self._client.get(NAMESPACES, name)
        except NotFound:
            return None

    async def _delete_contents(self, name: str) -> int:
        """Deletes everything in a namespace; returns the number of objects found."""
        remaining = 0
        for root, resources in await self._list_apis():
            for plural in _deletable_resources(resources):
                path = f"{root}/namespaces/{name}/{plural}"
                try:
                    items = (await self._client.raw("GET", path)).get("items") or []
                    if items:
                        await self._client.raw("DELETE", path)
                except (NotFound, Refused):
                    continue  # not a collection that can be emptied
                remaining += len(items)
        return remaining

    async def _list_apis(self) -> list[tuple[str, Object]]:
        """Every API of the server: its path, and its APIResourceList."""
        groups = (await self._client.raw("GET", "/apis")).get("groups") or []
        roots = ["/api/v1"]
        roots += [f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups]
        found = []
        for root in roots:
            try:
                found.append((root, await self._client.raw("GET", root)))
            except (NotFound, Refused):
                continue
        return found


def _deletable_resources(resources: Object) -> Iterator[str]:
    for one in resources.get("resources") or []:
        verbs = set(one.get("verbs") or [])
        if one.get("namespaced") and {"list", "deletecollection"} <= verbs:
            yield one["name"]
