"""A hub in memory; `tests/contract/test_hub_port.py` shows that it acts like the real ones."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmarks._chaos.hub.objects import ObjectStore, copied, place_of
from scheduler.control.ports.hub import (
    ApiResource,
    Busy,
    Conflict,
    HubError,
    Listing,
    Object,
    WatchEvent,
)

Fate = Literal["written", "conflict", "lost", "landed", "late", "repeated"]
"""What becomes of a guarded patch.

It is written; another client was first; its answer is cut off, before or after it was written; it
is held up on its way until `land_late`, when its sender has given it up; or a proxy sends it twice,
so that the answer is the conflict of the second with the first, which was written.
"""


async def _at_once() -> None:
    """Takes no time."""


@dataclass
class FakeHub:
    """Implements `scheduler.control.ports.hub.Hub`.

    Attributes:
        faults: raised by every write to an object of this name.
        fate_of: what becomes of a patch that names a version, by the object's name.
        pause: awaited on the way to the hub and back.
        store: the objects.
    """

    faults: dict[str, HubError] = field(default_factory=dict)
    fate_of: Callable[[str], Fate] = lambda _name: "written"
    pause: Callable[[], Awaitable[None]] = _at_once
    _late: list[tuple[ApiResource, str, Mapping[str, Any], str | None, str | None]] = field(
        default_factory=list
    )
    store: ObjectStore = field(init=False)
    _events: list[tuple[ApiResource, WatchEvent]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = ObjectStore(make_uid=lambda: str(uuid.uuid4()), on_change=self._note)

    def _note(self, resource: ApiResource, event: WatchEvent) -> None:
        self._events.append((resource, WatchEvent(event.type, copied(event.object))))

    def take_events(self) -> list[tuple[ApiResource, WatchEvent]]:
        """What watches of all resources would have brought since the last call."""
        events, self._events = self._events, []
        return events

    async def get(self, resource: ApiResource, name: str, namespace: str | None = None) -> Object:
        await self.pause()
        return copied(self.store.found(resource, name, namespace))

    async def list(self, resource: ApiResource, namespace: str | None = None) -> Listing:
        items = [
            one
            for one in self.store.listing(resource).items
            if namespace in (None, one["metadata"].get("namespace", ""))
        ]
        items.sort(key=lambda one: (one["metadata"].get("namespace", ""), one["metadata"]["name"]))
        return Listing(items=items, resource_version=str(self.store.version))

    async def list_pages(self, resource: ApiResource) -> AsyncIterator[Listing]:
        listing = await self.list(resource)
        half = len(listing.items) // 2
        for items in (listing.items[:half], listing.items[half:]):
            yield Listing(items=items, resource_version=listing.resource_version)

    async def list_metadata(self, resource: ApiResource) -> Listing:
        listing = await self.list(resource)
        items = [{"metadata": one["metadata"]} for one in listing.items]
        return Listing(items=items, resource_version=listing.resource_version)

    async def collection_version(self, resource: ApiResource) -> str:
        return (await self.list(resource)).resource_version

    async def watch(
        self, resource: ApiResource, resource_version: str
    ) -> AsyncIterator[WatchEvent]:
        """Ends after the events so far; `take_events` is simpler for most tests."""
        for other, event in list(self._events):
            newer = int(event.object["metadata"]["resourceVersion"]) > int(resource_version)
            if other == resource and newer:
                yield event

    async def create(self, resource: ApiResource, body: Object) -> Object:
        return self.store.create(resource, body)

    async def merge_patch(
        self,
        resource: ApiResource,
        name: str,
        patch: Mapping[str, Any],
        *,
        namespace: str | None = None,
        subresource: str | None = None,
    ) -> Object:
        await self.pause()
        fate: Fate = "written"
        if "resourceVersion" in patch.get("metadata", {}):
            fate = self.fate_of(name)
        if fate == "conflict":
            raise Conflict(f"{name} has been modified", status=409, reason="Conflict")
        if fate == "late":
            self._late.append((resource, name, patch, namespace, subresource))
        if fate in ("lost", "late"):
            raise Busy(f"{name}: the connection was cut")
        after = self._patch(resource, name, patch, namespace, subresource)
        await self.pause()
        if fate == "landed":
            raise Busy(f"{name}: the connection was cut")
        if fate == "repeated":
            raise Conflict(f"{name} has been modified", status=409, reason="Conflict")
        return after

    def land_late(self) -> None:
        """Lets the patches arrive that were held up; those to another version have no effect."""
        late, self._late = self._late, []
        for one in late:
            with suppress(HubError):
                self._patch(*one)

    def _patch(
        self,
        resource: ApiResource,
        name: str,
        patch: Mapping[str, Any],
        namespace: str | None,
        subresource: str | None,
    ) -> Object:
        self.store.found(resource, name, namespace)
        if name in self.faults:
            raise self.faults[name]
        return self.store.patch(resource, name, patch, namespace, subresource)

    async def apply(
        self,
        resource: ApiResource,
        body: Object,
        *,
        field_manager: str,
        force: bool = True,
        subresource: str | None = None,
    ) -> Object:
        """As if one client owned all fields: the object becomes the merged one."""
        del field_manager, force
        name, namespace = body["metadata"]["name"], body["metadata"].get("namespace")
        if self.store.at(place_of(resource, name, namespace)) is None:
            return await self.create(resource, body)
        return await self.merge_patch(
            resource, name, body, namespace=namespace, subresource=subresource
        )

    async def delete(self, resource: ApiResource, name: str, namespace: str | None = None) -> None:
        self.store.drop(resource, place_of(resource, name, namespace))
