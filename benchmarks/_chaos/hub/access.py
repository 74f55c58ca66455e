"""One scheduler's way to the hub in memory: requests fail, come late, or do not come through."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks._chaos.hub.hub import ChaosHub
from benchmarks._chaos.hub.objects import copied
from scheduler.control.ports.hub import ApiResource, Busy, Listing, Object, WatchEvent


@dataclass(slots=True)
class HubAccess:
    """One scheduler's way to the hub; implements `scheduler.control.ports.hub.Hub`.

    Attributes:
        hub: the hub.
        is_cut: nothing comes through.
        delays_writes: writes are held up on their way, and their sender hears nothing.
    """

    hub: ChaosHub
    is_cut: bool = False
    delays_writes: bool = False
    address: str = "chaos"

    async def serves(self, _resource: ApiResource) -> bool:
        """Whether it has a kind that others install: it has none."""
        return False

    def with_observer(self, _observe: object) -> "HubAccess":
        """The same: nothing is counted."""
        return self

    def with_timeout(self, _seconds: float) -> "HubAccess":
        """The same: answers come at once or never."""
        return self

    async def raw(self, _verb: str, _path: str) -> Object:
        """The index of the API's schemas: it serves none."""
        self._check()
        return {}

    def _check(self) -> None:
        if self.is_cut:
            raise Busy("the hub cannot be reached")

    async def get(self, resource: ApiResource, name: str, namespace: str | None = None) -> Object:
        """Reads one object."""
        self._check()
        self.hub.check_read()
        return copied(self.hub.store.found(resource, name, namespace))

    async def list(self, resource: ApiResource, namespace: str | None = None) -> Listing:
        """Lists a whole collection."""
        del namespace
        self._check()
        self.hub.check_read()
        return self.hub.store.listing(resource)

    async def list_pages(self, resource: ApiResource) -> AsyncIterator[Listing]:
        """Lists a whole collection in two pages, between which a request may fail."""
        whole = await self.list(resource)
        half = len(whole.items) // 2
        yield Listing(items=whole.items[:half], resource_version=whole.resource_version)
        self._check()
        self.hub.check_read()
        yield Listing(items=whole.items[half:], resource_version=whole.resource_version)

    async def list_metadata(self, resource: ApiResource) -> Listing:
        """Lists the metadata of a whole collection."""
        self._check()
        self.hub.check_read()
        return self.hub.store.listing(resource, metadata_only=True)

    async def collection_version(self, resource: ApiResource) -> str:
        """The version at which a list would be now."""
        return (await self.list_metadata(resource)).resource_version

    async def watch(
        self, resource: ApiResource, resource_version: str
    ) -> AsyncIterator[WatchEvent]:
        """Yields changes until the stream is ended or cut."""
        self._check()
        async for event in self.hub.changes(resource, int(resource_version)):
            if self.is_cut:
                return
            yield event

    async def create(self, resource: ApiResource, body: Object) -> Object:
        """Creates an object."""
        return self._write(lambda: self.hub.store.create(resource, body))

    async def merge_patch(
        self,
        resource: ApiResource,
        name: str,
        patch: Mapping[str, Any],
        *,
        namespace: str | None = None,
        subresource: str | None = None,
    ) -> Object:
        """Patches an object."""
        return self._write(
            lambda: self.hub.store.patch(resource, name, patch, namespace, subresource)
        )

    async def apply(
        self,
        resource: ApiResource,
        body: Object,
        *,
        field_manager: str,
        force: bool = True,
        subresource: str | None = None,
    ) -> Object:
        """Applies an object as if one client owned all its fields."""
        del field_manager, force
        return self._write(lambda: self.hub.store.apply(resource, body, subresource))

    async def delete(self, resource: ApiResource, name: str, namespace: str | None = None) -> None:
        """Deletes an object."""
        self._check()
        self.hub.remove(resource, name, namespace)

    def _write(self, change: Callable[[], Object]) -> Object:
        self._check()
        if self.delays_writes:
            self.hub.hold_up(change)
            raise Busy("no answer in time")
        return self.hub.write(change)
