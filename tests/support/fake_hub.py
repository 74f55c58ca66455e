"""A hub in memory; `tests/contract/test_hub_port.py` shows that it acts like the real ones."""

import copy
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from scheduler.control.ports.hub import (
    ApiResource,
    Busy,
    Conflict,
    HubError,
    Listing,
    NotFound,
    Object,
    WatchEvent,
)

Place = tuple[str, str, str]
"""(plural, namespace, name) of an object."""

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
    """

    faults: dict[str, HubError] = field(default_factory=dict)
    fate_of: Callable[[str], Fate] = lambda _name: "written"
    pause: Callable[[], Awaitable[None]] = _at_once
    _late: list[tuple[ApiResource, str, Mapping[str, Any], str | None, str | None]] = field(
        default_factory=list
    )
    _objects: dict[Place, Object] = field(default_factory=dict)
    _events: list[tuple[ApiResource, WatchEvent]] = field(default_factory=list)
    _version: int = 0

    def take_events(self) -> list[tuple[ApiResource, WatchEvent]]:
        """What watches of all resources would have brought since the last call."""
        events, self._events = self._events, []
        return events

    async def get(self, resource: ApiResource, name: str, namespace: str | None = None) -> Object:
        await self.pause()
        return copy.deepcopy(self._found(resource, name, namespace))

    async def list(self, resource: ApiResource, namespace: str | None = None) -> Listing:
        items = [
            copy.deepcopy(one)
            for (plural, there, _), one in sorted(self._objects.items())
            if plural == resource.plural and namespace in (None, there)
        ]
        return Listing(items=items, resource_version=str(self._version))

    async def list_pages(self, resource: ApiResource) -> AsyncIterator[Listing]:
        listing = await self.list(resource)
        half = len(listing.items) // 2
        for items in (listing.items[:half], listing.items[half:]):
            yield Listing(items=items, resource_version=listing.resource_version)

    async def list_metadata(self, resource: ApiResource) -> Listing:
        listing = await self.list(resource)
        items = [{"metadata": one["metadata"]} for one in listing.items]
        return Listing(items=items, resource_version=listing.resource_version)

    async def watch(
        self, resource: ApiResource, resource_version: str
    ) -> AsyncIterator[WatchEvent]:
        """Ends after the events so far; `take_events` is simpler for most tests."""
        for other, event in list(self._events):
            newer = int(event.object["metadata"]["resourceVersion"]) > int(resource_version)
            if other == resource and newer:
                yield event

    async def create(self, resource: ApiResource, body: Object) -> Object:
        place = _place_of(resource, body["metadata"]["name"], body["metadata"].get("namespace"))
        if place in self._objects:
            raise Conflict(f"{place} exists", status=409, reason="AlreadyExists")
        metadata = {**body["metadata"], "uid": str(uuid.uuid4()), "generation": 1}
        return self._store(resource, place, {**body, "metadata": metadata}, "ADDED")

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
        before = self._found(resource, name, namespace)
        if name in self.faults:
            raise self.faults[name]
        wanted = patch.get("metadata", {}).get("resourceVersion")
        if wanted not in (None, before["metadata"]["resourceVersion"]):
            raise Conflict(f"{name} has been modified", status=409, reason="Conflict")
        if subresource == "status":
            patch = {"status": patch.get("status")}
        after = _merged(before, patch)
        if after == before:
            return copy.deepcopy(before)
        if after.get("spec") != before.get("spec"):
            after["metadata"]["generation"] += 1
        return self._store(resource, _place_of(resource, name, namespace), after, "MODIFIED")

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
        if _place_of(resource, name, namespace) not in self._objects:
            return await self.create(resource, body)
        return await self.merge_patch(
            resource, name, body, namespace=namespace, subresource=subresource
        )

    async def delete(self, resource: ApiResource, name: str, namespace: str | None = None) -> None:
        place = _place_of(resource, name, namespace)
        removed = self._objects.pop(place, None)
        if removed is not None:
            self._version += 1
            removed["metadata"]["resourceVersion"] = str(self._version)
            self._events.append((resource, WatchEvent("DELETED", removed)))

    def _found(self, resource: ApiResource, name: str, namespace: str | None) -> Object:
        found = self._objects.get(_place_of(resource, name, namespace))
        if found is None:
            raise NotFound(f"{resource.plural} {name} not found", status=404, reason="NotFound")
        return found

    def _store(self, resource: ApiResource, place: Place, body: Object, change: str) -> Object:
        self._version += 1
        stored = copy.deepcopy(body)
        stored["metadata"]["resourceVersion"] = str(self._version)
        self._objects[place] = stored
        self._events.append((resource, WatchEvent(change, copy.deepcopy(stored))))
        return copy.deepcopy(stored)


def _place_of(resource: ApiResource, name: str, namespace: str | None) -> Place:
    return resource.plural, namespace or "", name


def _merged(old: Any, patch: Any) -> Any:  # noqa: ANN401 - JSON
    """RFC 7386: null removes a key, maps merge, all else replaces."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    merged = copy.deepcopy(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged
