"""The hub in memory: versions, conflicts, watches, and requests that fail on order.

It refuses what the real one refuses by its own rules: a lower epoch in a status (CRD and fence). An
object with finalizers stays until they are gone. Users of the hub write by `put`, `edit` and
`remove`, which never fail.
"""

import asyncio
import copy
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from scheduler.control.fence import late_status_problem
from scheduler.control.ports.hub import (
    LEASES,
    WORKLOADS,
    ApiResource,
    Busy,
    Conflict,
    Gone,
    HubError,
    Listing,
    NotFound,
    Object,
    Refused,
    WatchEvent,
)
from scheduler.runtime.clock import Clock

Json = TypeVar("Json")
Place = tuple[str, str, str]
"""(plural, namespace, name) of an object."""


@dataclass(frozen=True, slots=True)
class StatusWrite:
    """A status of a workload that the hub has taken.

    Attributes:
        place: namespace and name.
        before: the object before.
        after: the object after.
        lease_epoch: the epoch of the Lease at that moment.
        at: that moment, in seconds since the start.
    """

    place: tuple[str, str]
    before: Object
    after: Object
    lease_epoch: int
    at: float


@dataclass(slots=True)
class ChaosHub:
    """All objects, and what was done to them.

    Attributes:
        rng: decides which requests fail.
        clock: the time.
        fault_ratio: the share of requests that fail in one of four ways.
        writes: statuses of workloads that were taken since the last look at them.
        removed: workloads that are gone since the last look at them.
    """

    rng: random.Random
    clock: Clock
    fault_ratio: float = 0.0
    writes: list[StatusWrite] = field(default_factory=list)
    removed: list[Object] = field(default_factory=list)
    _objects: dict[Place, Object] = field(default_factory=dict)
    _kinds: dict[str, dict[Place, Object]] = field(default_factory=dict)
    _log: dict[str, list[tuple[int, WatchEvent]]] = field(default_factory=dict)
    _compacted: int = 0
    _version: int = 0
    _uids: int = 0
    _generation: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _late: list[Callable[[], object]] = field(default_factory=list)

    # ------------------------------------------------------------ users

    def put(self, resource: ApiResource, body: Object) -> Object:
        """Creates an object, or replaces its spec and labels."""
        place = _place_of(resource, body["metadata"]["name"], body["metadata"].get("namespace"))
        if place not in self._objects:
            return self._create(resource, place, body)
        return self.edit(resource, place[2], {"spec": body["spec"]}, place[1] or None)

    def edit(
        self, resource: ApiResource, name: str, patch: Object, namespace: str | None = None
    ) -> Object:
        """Merges a patch into an object."""
        return self._patch(resource, name, patch, namespace, None)

    def remove(self, resource: ApiResource, name: str, namespace: str | None = None) -> None:
        """Deletes an object; one with finalizers is marked."""
        place = _place_of(resource, name, namespace)
        found = self._objects.get(place)
        if found is None or "deletionTimestamp" in found["metadata"]:
            return
        if found["metadata"].get("finalizers"):
            stamp = {"metadata": {"deletionTimestamp": "2026-11-24T00:00:00Z"}}
            self._store(resource, place, _merged(found, stamp), "MODIFIED")
        else:
            self._drop(resource, place)

    def find(self, resource: ApiResource, name: str, namespace: str | None = None) -> Object | None:
        """An object as it is; not to be changed."""
        return self._objects.get(_place_of(resource, name, namespace))

    def every(self, resource: ApiResource) -> list[Object]:
        """All objects of a kind as they are; not to be changed."""
        return list(self._kinds.get(resource.plural, {}).values())

    def end_watches(self, *, compacts: bool) -> None:
        """Ends all watches; if it compacts, they cannot go on from where they were (410)."""
        if compacts:
            self._compacted = self._version
            self._log.clear()
        self._generation += 1
        self._wake()

    def land_late(self) -> None:
        """Lets requests arrive that were held up on their way."""
        late, self._late = self._late, []
        for land in late:
            with suppress(HubError):
                land()

    # ------------------------------------------------------------ requests of schedulers

    def read(self, resource: ApiResource, name: str, namespace: str | None) -> Object:
        """A copy of an object."""
        return copied(self._found(resource, name, namespace))

    def listing(self, resource: ApiResource, *, metadata_only: bool = False) -> Listing:
        """Copies of all objects of a kind."""
        items = [
            {"metadata": copied(one["metadata"])} if metadata_only else copied(one)
            for one in self.every(resource)
        ]
        return Listing(items=items, resource_version=str(self._version))

    async def changes(self, resource: ApiResource, version: int) -> AsyncIterator[WatchEvent]:
        """Changes after a version, until the watches are ended."""
        if version < self._compacted:
            raise Gone("too old resource version", status=410, reason="Expired")
        generation, log = self._generation, self._log.setdefault(resource.plural, [])
        position = next((i for i, (at, _) in enumerate(log) if at > version), len(log))
        while generation == self._generation:
            while position < len(log):
                yield WatchEvent(log[position][1].type, copied(log[position][1].object))
                position += 1
                if generation != self._generation:
                    return
            await self._news.wait()

    def write(self, change: Callable[[], Object]) -> Object:
        """A write whose fate is drawn: it is taken, refused, or its answer is lost."""
        if self.rng.random() >= self.fault_ratio:
            return change()
        fate = self.rng.choice(("refused", "lost", "landed", "late", "conflict"))
        if fate == "conflict":
            raise Conflict("the object has been modified", status=409, reason="Conflict")
        if fate == "late":
            self._late.append(change)
        if fate == "landed":
            change()
        raise Busy("no answer", status=503 if fate == "refused" else 0)

    def check_read(self) -> None:
        """Fails a read if that is drawn."""
        if self.rng.random() < self.fault_ratio:
            raise Busy("no answer", status=500)

    def create(self, resource: ApiResource, body: Object) -> Object:
        """Creates an object."""
        place = _place_of(resource, body["metadata"]["name"], body["metadata"].get("namespace"))
        if place in self._objects:
            raise Conflict(f"{place} exists", status=409, reason="AlreadyExists")
        return self._create(resource, place, body)

    def patch(
        self,
        resource: ApiResource,
        name: str,
        patch: Mapping[str, Any],
        namespace: str | None,
        subresource: str | None,
    ) -> Object:
        """Merges a patch into an object."""
        return self._patch(resource, name, patch, namespace, subresource)

    def hold_up(self, change: Callable[[], Object]) -> None:
        """Keeps a request on its way until `land_late`."""
        self._late.append(change)

    # ------------------------------------------------------------ storage

    def _create(self, resource: ApiResource, place: Place, body: Object) -> Object:
        self._uids += 1
        meta = {**body["metadata"], "uid": f"uid-{self._uids}", "generation": 1}
        meta.setdefault("creationTimestamp", "2026-11-24T00:00:00Z")
        return self._store(resource, place, {**copied(body), "metadata": meta}, "ADDED")

    def _patch(
        self,
        resource: ApiResource,
        name: str,
        patch: Mapping[str, Any],
        namespace: str | None,
        subresource: str | None,
    ) -> Object:
        before = self._found(resource, name, namespace)
        wanted = patch.get("metadata", {}).get("resourceVersion")
        if wanted not in (None, before["metadata"]["resourceVersion"]):
            raise Conflict(f"{name} has been modified", status=409, reason="Conflict")
        place = _place_of(resource, name, namespace)
        if subresource == "status":
            patch = {"status": patch.get("status")}
        after = _merged(before, patch)
        if after == before:
            return copied(before)
        if resource is WORKLOADS and subresource == "status":
            self._check_epoch(before, after)
            now = self.clock.monotonic()
            self.writes.append(StatusWrite(place[1:], before, after, self.lease_epoch(), now))
        if after.get("spec") != before.get("spec"):
            after["metadata"]["generation"] += 1
        is_marked = "deletionTimestamp" in after["metadata"]
        if is_marked and not after["metadata"].get("finalizers"):
            self._drop(resource, place)
            return copied(after)
        return self._store(resource, place, after, "MODIFIED")

    def lease_epoch(self) -> int:
        """The epoch of the newest leader; 0 before the first."""
        lease = self._objects.get((LEASES.plural, "kapok-system", "kapok-scheduler"))
        return int(lease["spec"]["leaseTransitions"]) if lease else 0

    def _check_epoch(self, before: Object, after: Object) -> None:
        old, new = (int((one.get("status") or {}).get("epoch") or 0) for one in (before, after))
        lease = self._objects.get((LEASES.plural, "kapok-system", "kapok-scheduler")) or {}
        if new < old:
            raise Refused("status.epoch must not fall", status=422, reason="Invalid")
        problem = late_status_problem(before, after, lease)
        if problem:
            raise Refused(problem, status=422, reason="Invalid")

    def _found(self, resource: ApiResource, name: str, namespace: str | None) -> Object:
        found = self._objects.get(_place_of(resource, name, namespace))
        if found is None:
            raise NotFound(f"{resource.plural} {name} not found", status=404, reason="NotFound")
        return found

    def _drop(self, resource: ApiResource, place: Place) -> None:
        gone = copied(self._objects.pop(place))
        del self._kinds[resource.plural][place]
        self._version += 1
        gone["metadata"]["resourceVersion"] = str(self._version)
        if resource is WORKLOADS:
            self.removed.append(gone)
        self._tell(resource, WatchEvent("DELETED", gone))

    def _store(self, resource: ApiResource, place: Place, body: Object, change: str) -> Object:
        self._version += 1
        body["metadata"] = {**body["metadata"], "resourceVersion": str(self._version)}
        self._objects[place] = body  # never changed in place from here on
        self._kinds.setdefault(resource.plural, {})[place] = body
        self._tell(resource, WatchEvent(change, body))
        return copied(body)

    def _tell(self, resource: ApiResource, event: WatchEvent) -> None:
        self._log.setdefault(resource.plural, []).append((self._version, event))
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


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
        return self.hub.read(resource, name, namespace)

    async def list(self, resource: ApiResource, namespace: str | None = None) -> Listing:
        """Lists a whole collection."""
        del namespace
        self._check()
        self.hub.check_read()
        return self.hub.listing(resource)

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
        return self.hub.listing(resource, metadata_only=True)

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
        return self._write(lambda: self.hub.create(resource, body))

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
        return self._write(lambda: self.hub.patch(resource, name, patch, namespace, subresource))

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
        return self._write(lambda: self._apply(resource, body, subresource))

    def _apply(self, resource: ApiResource, body: Object, subresource: str | None) -> Object:
        meta = body["metadata"]
        if self.hub.find(resource, meta["name"], meta.get("namespace")) is None:
            return self.hub.create(resource, body)
        return self.hub.patch(resource, meta["name"], body, meta.get("namespace"), subresource)

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


def _place_of(resource: ApiResource, name: str, namespace: str | None) -> Place:
    return resource.plural, namespace or "", name


def copied(value: Json) -> Json:
    """A copy of a JSON value, in a fifth of the time of `copy.deepcopy`."""
    return cast(Json, _copied(value))


def _copied(value: Any) -> Any:  # noqa: ANN401 - JSON
    if type(value) is dict:
        return {key: _copied(one) for key, one in value.items()}
    if type(value) is list:
        return [_copied(one) for one in value]
    return value if type(value) in _SCALARS else copy.deepcopy(value)


_SCALARS = frozenset({str, int, float, bool, type(None)})


def _merged(old: Any, patch: Any) -> Any:  # noqa: ANN401 - JSON
    """RFC 7386; shares what does not change, since nothing stored is changed in place."""
    if not isinstance(patch, Mapping):
        return copied(patch)
    merged = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged
