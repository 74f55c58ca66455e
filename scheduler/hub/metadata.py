"""The hub as an informer sees it that follows metadata alone.

Which Secret or ConfigMap has changed is in its metadata; what it holds is read only of those that
an order needs.
"""

from collections.abc import AsyncIterator

from scheduler.control.ports.hub import ApiResource, Listing, Object, WatchEvent
from scheduler.hub.client import HubClient


class MetadataHub:
    """Implements `scheduler.hub.informer.FollowedHub`: objects without spec, data and status."""

    def __init__(self, client: HubClient) -> None:
        self._client = client

    async def get(self, resource: ApiResource, name: str, namespace: str | None = None) -> Object:
        """Reads one object."""
        return await self._client.get(resource, name, namespace)

    async def list_metadata(self, resource: ApiResource) -> Listing:
        """Lists the metadata of a whole collection."""
        return await self._client.list_metadata(resource)

    async def list_pages(self, resource: ApiResource) -> AsyncIterator[Listing]:
        """Yields the metadata of a whole collection, in one part."""
        yield await self._client.list_metadata(resource)

    async def watch(
        self, resource: ApiResource, resource_version: str
    ) -> AsyncIterator[WatchEvent]:
        """Yields changes of metadata until the server ends the stream."""
        async for change in self._client.watch_metadata(resource, resource_version):
            yield change
