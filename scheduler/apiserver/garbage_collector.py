"""What controllers do behind every API server: garbage collection and namespace removal.

Dependents follow their owners (background, foreground, orphan), a namespace goes when it is empty,
a CustomResourceDefinition when its objects are gone. Source: "Garbage Collection" of the Kubernetes
documentation. One task works through a queue of objects; what it finds it reads anew.
"""

import asyncio
import logging
from collections.abc import Iterable
from datetime import timedelta

from scheduler.apiserver.base.errors import ApiError
from scheduler.apiserver.kinds.admission import WriteOptions
from scheduler.apiserver.kinds.custom.definitions import CLEANUP
from scheduler.apiserver.kinds.metadata import rfc3339
from scheduler.apiserver.kinds.resources import Resource
from scheduler.apiserver.storage.object_store import Heap, holds
from scheduler.apiserver.write.deletion import FOREGROUND, ORPHAN, DeleteOptions, Deletion
from scheduler.hub.schema.json_types import JsonObject

log = logging.getLogger(__name__)
_EVENT_LIFETIME = timedelta(hours=1)
"""As the real server's --event-ttl."""
_EXPIRY_PAUSE_SECONDS = 60.0
_BACKGROUND = DeleteOptions(policy="Background")

Place = tuple[str, str]
"""A collection and a key."""


class Collector:
    """Follows every write and cleans up after it."""

    def __init__(self, registry: Heap) -> None:
        self._registry = registry
        self._deletion = Deletion(registry)
        self._dependents: dict[str, set[Place]] = {}
        """The objects that name an owner, by the owner's uid."""
        self._owners: dict[Place, tuple[str, ...]] = {}
        self._waiting: dict[str, Place] = {}
        """Owners that wait for their dependents in the foreground, by uid."""
        self._queue: asyncio.Queue[tuple[str, Place, str]] = asyncio.Queue()
        self._queued: set[tuple[str, Place, str]] = set()
        registry.listeners.append(self._heard)

    def load(self) -> None:
        """Indexes what is on disk and takes up what was left half done."""
        for resource in self._registry.catalog.all():
            for key, stored in self._registry.collection(resource.storage).objects.items():
                if b'"ownerReferences"' in stored.data or b'"deletionTimestamp"' in stored.data:
                    self._heard(resource, stored.decoded(), "ADDED", key=key)

    def _heard(self, resource: Resource, item: JsonObject, kind: str, *, key: str = "") -> None:
        metadata = item["metadata"]
        key = key or self._registry.key(resource, metadata.get("namespace", ""), metadata["name"])
        place = (resource.storage, key)
        owners = metadata.get("ownerReferences")
        if owners or place in self._owners:
            self._index(place, () if kind == "DELETED" else owners or ())
        if kind == "DELETED":
            self._waiting.pop(metadata["uid"], None)
            if self._dependents.get(metadata["uid"]):
                self._later(("owner", place, metadata["uid"]))
            self._someone_left(resource, metadata)
            for owner in owners or ():
                self._later(("blocked", place, owner["uid"]))
            return
        if owners:
            self._later(("dependent", place, ""))
        if metadata.get("deletionTimestamp"):
            self._later(("marked", place, ""))

    def _later(self, work: tuple[str, Place, str]) -> None:
        """Queues work, once."""
        if work not in self._queued:
            self._queued.add(work)
            self._queue.put_nowait(work)

    def _index(self, place: Place, owners: Iterable[JsonObject]) -> None:
        for uid in self._owners.pop(place, ()):
            known = self._dependents.get(uid, set())
            known.discard(place)
            if not known:
                self._dependents.pop(uid, None)
        uids = tuple(owner["uid"] for owner in owners)
        if uids:
            self._owners[place] = uids
        for uid in uids:
            self._dependents.setdefault(uid, set()).add(place)

    def _someone_left(self, resource: Resource, metadata: JsonObject) -> None:
        """A namespace or a definition that waits for this object may go now."""
        if resource.namespaced:
            self._later(("marked", ("/namespaces", metadata["namespace"]), ""))
        if resource.owner:
            place = ("apiextensions.k8s.io/customresourcedefinitions", resource.owner)
            self._later(("marked", place, ""))

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            work = await self._queue.get()
            self._queued.discard(work)
            what, place, uid = work
            try:
                await self._work(what, place, uid)
            except ApiError as error:
                log.warning("collecting %s %s: %s", *place, error)

    async def expire_events(self) -> None:
        """Deletes events an hour after they last happened, until cancelled."""
        clock = self._registry.clock
        while True:
            await clock.sleep(_EXPIRY_PAUSE_SECONDS)
            resource = self._registry.catalog.of_storage("/events")
            if resource is None:
                continue
            before = rfc3339(clock.now() - _EVENT_LIFETIME)
            events = self._registry.collection("/events").objects.values()
            old = [stored for stored in events if _last_seen(stored.decoded()) < before]
            await self._deletion.delete_all(resource, old, _BACKGROUND)

    async def _work(self, what: str, place: Place, uid: str) -> None:
        if what == "owner":
            for dependent in list(self._dependents.get(uid, ())):
                await self._check_dependent(dependent)
        elif what == "dependent":
            await self._check_dependent(place)
        elif what == "blocked":
            await self._unblock(uid)
        else:
            await self._finish(place)

    def _read(self, place: Place) -> tuple[Resource, JsonObject] | None:
        resource = self._registry.catalog.of_storage(place[0])
        stored = self._registry.collection(place[0]).latest(place[1])
        if resource is None or stored is None:
            return None
        return resource, stored.decoded()

    async def _check_dependent(self, place: Place) -> None:
        """Deletes an object all of whose owners are gone; forgets those that are."""
        found = self._read(place)
        if found is None:
            return
        resource, item = found
        owners = item["metadata"].get("ownerReferences") or ()
        namespace = item["metadata"].get("namespace", "")
        there = [owner for owner in owners if self._owner_exists(owner, namespace)]
        if len(there) == len(owners):
            return
        if there:
            item["metadata"]["ownerReferences"] = there
            await self._registry.put(resource, place[1], item, WriteOptions())
        elif not item["metadata"].get("deletionTimestamp"):
            await self._deletion.delete(resource, namespace, item["metadata"]["name"], _BACKGROUND)

    def _owner(self, owner: JsonObject, namespace: str) -> tuple[Resource, str] | None:
        group = owner["apiVersion"].rpartition("/")[0]
        resource = self._registry.catalog.by_kind(group, owner["kind"])
        if resource is None:
            return None
        return resource, self._registry.key(resource, namespace, owner["name"])

    def _owner_exists(self, owner: JsonObject, namespace: str) -> bool:
        """Whether an owner is there; owners of a kind that is not served count as there."""
        found = self._owner(owner, namespace)
        if found is None:
            return True
        stored = self._registry.collection(found[0].storage).latest(found[1])
        return stored is not None and stored.decoded()["metadata"]["uid"] == owner["uid"]

    async def _unblock(self, uid: str) -> None:
        """A dependent is gone: an owner that waited for it may go."""
        owner = self._waiting.get(uid)
        if owner is not None:
            await self._finish(owner)

    # ------------------------------------------------------------ marked objects

    async def _finish(self, place: Place) -> None:
        """Does what an object that is to be deleted waits for."""
        found = self._read(place)
        if found is None or not found[1]["metadata"].get("deletionTimestamp"):
            return
        resource, item = found
        finalizers = item["metadata"].get("finalizers") or ()
        if ORPHAN in finalizers:
            await self._orphan(item["metadata"]["uid"])
            await self._drop_finalizer(place, ORPHAN)
        elif FOREGROUND in finalizers:
            uid = item["metadata"]["uid"]
            self._waiting[uid] = place
            if await self._dependents_gone(uid):
                await self._drop_finalizer(place, FOREGROUND)
        elif CLEANUP in finalizers and await self._emptied(resource, item):
            await self._drop_finalizer(place, CLEANUP)
        elif place[0] == "/namespaces" and await self._namespace_emptied(place[1]):
            await self._drop_namespace(resource, place[1])

    async def _orphan(self, uid: str) -> None:
        for place in list(self._dependents.get(uid, ())):
            found = self._read(place)
            if found is None:
                continue
            resource, item = found
            owners = item["metadata"].get("ownerReferences") or ()
            kept = [owner for owner in owners if owner["uid"] != uid]
            item["metadata"].pop("ownerReferences", None)
            if kept:
                item["metadata"]["ownerReferences"] = kept
            await self._registry.put(resource, place[1], item, WriteOptions())

    async def _dependents_gone(self, uid: str) -> bool:
        """Deletes the dependents in the foreground; True when none that blocks is left."""
        blocking = False
        for place in list(self._dependents.get(uid, ())):
            found = self._read(place)
            if found is None:
                continue
            resource, item = found
            metadata = item["metadata"]
            if not metadata.get("deletionTimestamp"):
                await self._deletion.delete(
                    resource,
                    metadata.get("namespace", ""),
                    metadata["name"],
                    DeleteOptions(policy="Foreground"),
                )
            left = self._read(place)
            owners = left[1]["metadata"].get("ownerReferences") or () if left else ()
            blocking = blocking or any(
                owner["uid"] == uid and owner.get("blockOwnerDeletion") for owner in owners
            )
        return not blocking

    async def _emptied(self, _resource: Resource, definition: JsonObject) -> bool:
        """Deletes the objects of a definition; True when none is left."""
        spec = definition["spec"]
        storage = f"{spec['group']}/{spec['names']['plural']}"
        resource = self._registry.catalog.of_storage(storage)
        collection = self._registry.collection(storage)
        if resource is not None and collection.objects:
            await self._deletion.delete_all(
                resource, list(collection.objects.values()), _BACKGROUND
            )
        return not collection.objects

    async def _namespace_emptied(self, namespace: str) -> bool:
        empty = True
        seen: set[str] = set()
        for resource in self._registry.catalog.all():
            if not resource.namespaced or resource.storage in seen:
                continue
            seen.add(resource.storage)
            collection = self._registry.collection(resource.storage)
            prefix = f"{namespace}/"
            found = [
                stored for key, stored in list(collection.objects.items()) if key.startswith(prefix)
            ]
            await self._deletion.delete_all(resource, found, _BACKGROUND)
            empty = empty and not any(key.startswith(prefix) for key in collection.objects)
        return empty

    async def _drop_finalizer(self, place: Place, finalizer: str) -> None:
        found = self._read(place)
        if found is None:
            return
        resource, item = found
        left = [name for name in item["metadata"].get("finalizers") or () if name != finalizer]
        item["metadata"].pop("finalizers", None)
        if left:
            item["metadata"]["finalizers"] = left
        await self._write(resource, place[1], item)

    async def _drop_namespace(self, resource: Resource, name: str) -> None:
        found = self._read(("/namespaces", name))
        if found is None:
            return
        item = found[1]
        item["spec"] = {
            **item["spec"],
            "finalizers": [f for f in item["spec"].get("finalizers") or () if f != "kubernetes"],
        }
        await self._write(resource, name, item)

    async def _write(self, resource: Resource, key: str, item: JsonObject) -> None:
        if holds(item):
            await self._registry.put(resource, key, item, WriteOptions())
        else:
            await self._registry.remove(resource, key, item, WriteOptions())


def _last_seen(event: JsonObject) -> str:
    """When an event last happened, as RFC 3339 (which sorts like time)."""
    series = event.get("series") or {}
    times = (
        event.get("lastTimestamp"),
        series.get("lastObservedTime"),
        event.get("eventTime"),
        event["metadata"]["creationTimestamp"],
    )
    return max(str(time) for time in times if time)
