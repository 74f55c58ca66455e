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
from scheduler.apiserver.kinds.custom.definitions import CLEANUP_FINALIZER
from scheduler.apiserver.kinds.metadata import format_rfc3339
from scheduler.apiserver.kinds.resources import ServerResource
from scheduler.apiserver.storage.object_store import ObjectStore, is_deletion_blocked
from scheduler.apiserver.write.deletion import (
    FOREGROUND_FINALIZER,
    ORPHAN_FINALIZER,
    DeleteOptions,
    ObjectDeleter,
)
from scheduler.hub.schema.json_types import JsonObject

log = logging.getLogger(__name__)
_EVENT_TTL = timedelta(hours=1)
"""As the real server's --event-ttl."""
_EXPIRY_PERIOD_SECONDS = 60.0
_BACKGROUND_DELETION = DeleteOptions(propagation_policy="Background")

ObjectLocation = tuple[str, str]
"""A collection and a key."""


class GarbageCollector:
    """Follows every write and cleans up after it."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._deleter = ObjectDeleter(store)
        self._dependents: dict[str, set[ObjectLocation]] = {}
        """The objects that name an owner, by the owner's uid."""
        self._owner_uids: dict[ObjectLocation, tuple[str, ...]] = {}
        self._foreground_owners: dict[str, ObjectLocation] = {}
        """Owners that wait for their dependents in the foreground, by uid."""
        self._queue: asyncio.Queue[tuple[str, ObjectLocation, str]] = asyncio.Queue()
        self._queued: set[tuple[str, ObjectLocation, str]] = set()
        store.add_listener(self._on_write)

    def load(self) -> None:
        """Indexes what is on disk and takes up what was left half done."""
        for resource in self._store.catalog.all():
            for key, stored in self._store.collection(resource.collection_name).objects.items():
                if b'"ownerReferences"' in stored.data or b'"deletionTimestamp"' in stored.data:
                    self._on_write(resource, stored.decode(), "ADDED", key=key)

    def _on_write(
        self, resource: ServerResource, item: JsonObject, event_type: str, *, key: str = ""
    ) -> None:
        metadata = item["metadata"]
        key = key or self._store.key_of(resource, metadata.get("namespace", ""), metadata["name"])
        place = (resource.collection_name, key)
        owners = metadata.get("ownerReferences")
        if owners or place in self._owner_uids:
            self._index_owners(place, () if event_type == "DELETED" else owners or ())
        if event_type == "DELETED":
            self._foreground_owners.pop(metadata["uid"], None)
            if self._dependents.get(metadata["uid"]):
                self._enqueue(("owner", place, metadata["uid"]))
            self._recheck_terminating_parents(resource, metadata)
            for owner in owners or ():
                self._enqueue(("blocked", place, owner["uid"]))
            return
        if owners:
            self._enqueue(("dependent", place, ""))
        if metadata.get("deletionTimestamp"):
            self._enqueue(("marked", place, ""))

    def _enqueue(self, work: tuple[str, ObjectLocation, str]) -> None:
        """Queues work, once."""
        if work not in self._queued:
            self._queued.add(work)
            self._queue.put_nowait(work)

    def _index_owners(self, place: ObjectLocation, owners: Iterable[JsonObject]) -> None:
        for uid in self._owner_uids.pop(place, ()):
            known = self._dependents.get(uid, set())
            known.discard(place)
            if not known:
                self._dependents.pop(uid, None)
        uids = tuple(owner["uid"] for owner in owners)
        if uids:
            self._owner_uids[place] = uids
        for uid in uids:
            self._dependents.setdefault(uid, set()).add(place)

    def _recheck_terminating_parents(self, resource: ServerResource, metadata: JsonObject) -> None:
        """A namespace or a definition that waits for this object may go now."""
        if resource.namespaced:
            self._enqueue(("marked", ("/namespaces", metadata["namespace"]), ""))
        if resource.crd_name:
            place = ("apiextensions.k8s.io/customresourcedefinitions", resource.crd_name)
            self._enqueue(("marked", place, ""))

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            work = await self._queue.get()
            self._queued.discard(work)
            what, place, uid = work
            try:
                await self._process(what, place, uid)
            except ApiError as error:
                log.warning("collecting %s %s: %s", *place, error)

    async def expire_events(self) -> None:
        """Deletes events an hour after they last happened, until cancelled."""
        clock = self._store.clock
        while True:
            await clock.sleep(_EXPIRY_PERIOD_SECONDS)
            resource = self._store.catalog.find_by_collection("/events")
            if resource is None:
                continue
            before = format_rfc3339(clock.now() - _EVENT_TTL)
            events = self._store.collection("/events").objects.values()
            old = [stored for stored in events if _last_seen_at(stored.decode()) < before]
            await self._deleter.delete_all(resource, old, _BACKGROUND_DELETION)

    async def _process(self, task: str, place: ObjectLocation, uid: str) -> None:
        if task == "owner":
            for dependent in list(self._dependents.get(uid, ())):
                await self._process_dependent(dependent)
        elif task == "dependent":
            await self._process_dependent(place)
        elif task == "blocked":
            await self._unblock(uid)
        else:
            await self._process_terminating(place)

    def _read(self, place: ObjectLocation) -> tuple[ServerResource, JsonObject] | None:
        resource = self._store.catalog.find_by_collection(place[0])
        stored = self._store.collection(place[0]).latest(place[1])
        if resource is None or stored is None:
            return None
        return resource, stored.decode()

    async def _process_dependent(self, place: ObjectLocation) -> None:
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
            await self._store.put(resource, place[1], item, WriteOptions())
        elif not item["metadata"].get("deletionTimestamp"):
            await self._deleter.delete(
                resource, namespace, item["metadata"]["name"], _BACKGROUND_DELETION
            )

    def _find_owner(self, owner: JsonObject, namespace: str) -> tuple[ServerResource, str] | None:
        group = owner["apiVersion"].rpartition("/")[0]
        resource = self._store.catalog.find_by_kind(group, owner["kind"])
        if resource is None:
            return None
        return resource, self._store.key_of(resource, namespace, owner["name"])

    def _owner_exists(self, owner: JsonObject, namespace: str) -> bool:
        """Whether an owner is there; owners of a kind that is not served count as there."""
        found = self._find_owner(owner, namespace)
        if found is None:
            return True
        stored = self._store.collection(found[0].collection_name).latest(found[1])
        return stored is not None and stored.decode()["metadata"]["uid"] == owner["uid"]

    async def _unblock(self, uid: str) -> None:
        """A dependent is gone: an owner that waited for it may go."""
        owner = self._foreground_owners.get(uid)
        if owner is not None:
            await self._process_terminating(owner)

    # ------------------------------------------------------------ marked objects

    async def _process_terminating(self, place: ObjectLocation) -> None:
        """Does what an object that is to be deleted waits for."""
        found = self._read(place)
        if found is None or not found[1]["metadata"].get("deletionTimestamp"):
            return
        resource, item = found
        finalizers = item["metadata"].get("finalizers") or ()
        if ORPHAN_FINALIZER in finalizers:
            await self._orphan_dependents(item["metadata"]["uid"])
            await self._remove_finalizer(place, ORPHAN_FINALIZER)
        elif FOREGROUND_FINALIZER in finalizers:
            uid = item["metadata"]["uid"]
            self._foreground_owners[uid] = place
            if await self._delete_dependents(uid):
                await self._remove_finalizer(place, FOREGROUND_FINALIZER)
        elif CLEANUP_FINALIZER in finalizers and await self._delete_custom_objects(item):
            await self._remove_finalizer(place, CLEANUP_FINALIZER)
        elif place[0] == "/namespaces" and await self._delete_namespace_content(place[1]):
            await self._finalize_namespace(resource, place[1])

    async def _orphan_dependents(self, uid: str) -> None:
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
            await self._store.put(resource, place[1], item, WriteOptions())

    async def _delete_dependents(self, uid: str) -> bool:
        """Deletes the dependents in the foreground; True when none that blocks is left."""
        blocking = False
        for place in list(self._dependents.get(uid, ())):
            found = self._read(place)
            if found is None:
                continue
            resource, item = found
            metadata = item["metadata"]
            if not metadata.get("deletionTimestamp"):
                await self._deleter.delete(
                    resource,
                    metadata.get("namespace", ""),
                    metadata["name"],
                    DeleteOptions(propagation_policy="Foreground"),
                )
            left = self._read(place)
            owners = left[1]["metadata"].get("ownerReferences") or () if left else ()
            blocking = blocking or any(
                owner["uid"] == uid and owner.get("blockOwnerDeletion") for owner in owners
            )
        return not blocking

    async def _delete_custom_objects(self, definition: JsonObject) -> bool:
        """Deletes the objects of a definition; True when none is left."""
        spec = definition["spec"]
        storage = f"{spec['group']}/{spec['names']['plural']}"
        resource = self._store.catalog.find_by_collection(storage)
        collection = self._store.collection(storage)
        if resource is not None and collection.objects:
            await self._deleter.delete_all(
                resource, list(collection.objects.values()), _BACKGROUND_DELETION
            )
        return not collection.objects

    async def _delete_namespace_content(self, namespace: str) -> bool:
        empty = True
        seen: set[str] = set()
        for resource in self._store.catalog.all():
            if not resource.namespaced or resource.collection_name in seen:
                continue
            seen.add(resource.collection_name)
            collection = self._store.collection(resource.collection_name)
            prefix = f"{namespace}/"
            found = [
                stored for key, stored in list(collection.objects.items()) if key.startswith(prefix)
            ]
            await self._deleter.delete_all(resource, found, _BACKGROUND_DELETION)
            empty = empty and not any(key.startswith(prefix) for key in collection.objects)
        return empty

    async def _remove_finalizer(self, place: ObjectLocation, finalizer: str) -> None:
        found = self._read(place)
        if found is None:
            return
        resource, item = found
        left = [name for name in item["metadata"].get("finalizers") or () if name != finalizer]
        item["metadata"].pop("finalizers", None)
        if left:
            item["metadata"]["finalizers"] = left
        await self._put_or_remove(resource, place[1], item)

    async def _finalize_namespace(self, resource: ServerResource, name: str) -> None:
        found = self._read(("/namespaces", name))
        if found is None:
            return
        item = found[1]
        item["spec"] = {
            **item["spec"],
            "finalizers": [f for f in item["spec"].get("finalizers") or () if f != "kubernetes"],
        }
        await self._put_or_remove(resource, name, item)

    async def _put_or_remove(self, resource: ServerResource, key: str, item: JsonObject) -> None:
        if is_deletion_blocked(item):
            await self._store.put(resource, key, item, WriteOptions())
        else:
            await self._store.remove(resource, key, item, WriteOptions())


def _last_seen_at(event: JsonObject) -> str:
    """When an event last happened, as RFC 3339 (which sorts like time)."""
    series = event.get("series") or {}
    times = (
        event.get("lastTimestamp"),
        series.get("lastObservedTime"),
        event.get("eventTime"),
        event["metadata"]["creationTimestamp"],
    )
    return max(str(time) for time in times if time)
