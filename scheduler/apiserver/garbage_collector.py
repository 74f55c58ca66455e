"""The controllers that every API server relies on: garbage collection and namespace removal.

Dependents are deleted with their owners (background, foreground) or orphaned. A namespace is
removed when it is empty, a CustomResourceDefinition when its objects are gone. One task processes a
queue of objects and reads each object again when it processes it. An object that fails is counted
and tried again later, with a growing delay; the others do not wait for it.
Source: "Garbage Collection" of the Kubernetes documentation.
"""

import asyncio
from collections.abc import Iterable
from datetime import timedelta

from scheduler.apiserver.kinds.admission import WriteOptions
from scheduler.apiserver.kinds.custom.definitions import CLEANUP_FINALIZER
from scheduler.apiserver.kinds.metadata import format_rfc3339
from scheduler.apiserver.kinds.resources import ServerResource
from scheduler.apiserver.storage.object_store import ObjectStore, is_deletion_blocked
from scheduler.apiserver.storage.stored_object import StoredObject
from scheduler.apiserver.write.deletion import (
    FOREGROUND_FINALIZER,
    ORPHAN_FINALIZER,
    DeleteOptions,
    ObjectDeleter,
)
from scheduler.hub.schema.json_types import JsonObject

_EVENT_TTL = timedelta(hours=1)
"""How long an event is kept; the default of kube-apiserver's --event-ttl."""
_EXPIRY_PERIOD_SECONDS = 60.0
_EVENTS_PER_SLICE = 500
_FIRST_RETRY_SECONDS = 1.0
_MAX_RETRY_SECONDS = 300.0
_BACKGROUND_DELETION = DeleteOptions(propagation_policy="Background")

ObjectLocation = tuple[str, str]
"""The name of a collection and a key in it."""
_WorkItem = tuple[str, ObjectLocation, str]
"""A task (`owner`, `dependent`, `blocked` or `terminating`), an object, and the uid of an owner.

`owner`: the object is gone, process its dependents. `dependent`: check whether its owners exist.
`blocked`: the object is gone, its owner may have waited for it. `terminating`: continue deletion.
"""


class GarbageCollector:
    """Follows every write and deletes what it makes obsolete."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._deleter = ObjectDeleter(store)
        self._dependents: dict[str, set[ObjectLocation]] = {}
        """The objects that name an owner, by the owner's uid; the inverse of `_owner_uids`."""
        self._owner_uids: dict[ObjectLocation, tuple[str, ...]] = {}
        self._foreground_owners: dict[str, ObjectLocation] = {}
        """Owners in foreground deletion that wait for their dependents, by uid."""
        self._queue: asyncio.Queue[_WorkItem] = asyncio.Queue()
        self._queued: set[_WorkItem] = set()
        self._retry_seconds: dict[_WorkItem, float] = {}
        """The delays before the next try of the work items that failed."""
        store.add_listener(self._on_write)

    def load(self) -> None:
        """Indexes the stored objects and queues unfinished deletions."""
        for resource in self._store.catalog.all():
            for key, stored in self._store.collection(resource.collection_name).objects.items():
                if b'"ownerReferences"' in stored.data or b'"deletionTimestamp"' in stored.data:
                    try:
                        self._on_write(resource, stored.decode(), "ADDED", key=key)
                    except Exception as error:  # noqa: BLE001 - one object does not stop the start
                        context = f"indexing {resource.collection_name} {key}"
                        self._store.faults.report("api-load", context, error)

    def _on_write(
        self, resource: ServerResource, item: JsonObject, event_type: str, *, key: str = ""
    ) -> None:
        metadata = item["metadata"]
        key = key or self._store.key_of(resource, metadata.get("namespace", ""), metadata["name"])
        location = (resource.collection_name, key)
        owners = metadata.get("ownerReferences")
        if owners or location in self._owner_uids:
            self._index_owners(location, () if event_type == "DELETED" else owners or ())
        if event_type == "DELETED":
            self._foreground_owners.pop(metadata["uid"], None)
            if self._dependents.get(metadata["uid"]):
                self._enqueue(("owner", location, metadata["uid"]))
            self._recheck_terminating_parents(resource, metadata)
            for owner in owners or ():
                self._enqueue(("blocked", location, owner["uid"]))
            return
        if owners:
            self._enqueue(("dependent", location, ""))
        if metadata.get("deletionTimestamp"):
            self._enqueue(("terminating", location, ""))

    def _enqueue(self, work: _WorkItem) -> None:
        """Queues a work item unless it is queued."""
        if work not in self._queued:
            self._queued.add(work)
            self._queue.put_nowait(work)

    def _index_owners(self, location: ObjectLocation, owners: Iterable[JsonObject]) -> None:
        for uid in self._owner_uids.pop(location, ()):
            known = self._dependents.get(uid, set())
            known.discard(location)
            if not known:
                self._dependents.pop(uid, None)
        uids = tuple(owner["uid"] for owner in owners)
        if uids:
            self._owner_uids[location] = uids
        for uid in uids:
            self._dependents.setdefault(uid, set()).add(location)

    def _recheck_terminating_parents(self, resource: ServerResource, metadata: JsonObject) -> None:
        """Queues the namespace and the definition that may have waited for a deleted object."""
        if resource.namespaced:
            self._enqueue(("terminating", ("/namespaces", metadata["namespace"]), ""))
        if resource.crd_name:
            location = ("apiextensions.k8s.io/customresourcedefinitions", resource.crd_name)
            self._enqueue(("terminating", location, ""))

    async def run(self) -> None:
        """Processes the queue until cancelled."""
        async with asyncio.TaskGroup() as retries:
            while True:
                work = await self._queue.get()
                self._queued.discard(work)
                task, location, uid = work
                try:
                    await self._process(task, location, uid)
                except Exception as error:  # noqa: BLE001 - the barrier of the collector
                    context = f"garbage collection ({task}) of {location[0]} {location[1]}"
                    self._store.faults.report("api-collector", context, error)
                    retries.create_task(self._retry_later(work), name="api-collector-retry")
                else:
                    self._retry_seconds.pop(work, None)

    async def _retry_later(self, work: _WorkItem) -> None:
        seconds = self._retry_seconds.get(work, _FIRST_RETRY_SECONDS)
        self._retry_seconds[work] = min(2 * seconds, _MAX_RETRY_SECONDS)
        await self._store.clock.sleep(seconds)
        self._enqueue(work)

    async def expire_events(self) -> None:
        """Deletes events an hour after their last occurrence, until cancelled."""
        while True:
            await self._store.clock.sleep(_EXPIRY_PERIOD_SECONDS)
            try:
                await self._expire_old_events()
            except Exception as error:  # noqa: BLE001 - the barrier of this task
                self._store.faults.report("api-event-expiry", "expiring events", error)

    async def _expire_old_events(self) -> None:
        clock = self._store.clock
        resource = self._store.catalog.find_by_collection("/events")
        if resource is None:
            return
        before = format_rfc3339(clock.now() - _EVENT_TTL)
        events = list(self._store.collection("/events").objects.values())
        for start in range(0, len(events), _EVENTS_PER_SLICE):
            part = events[start : start + _EVENTS_PER_SLICE]
            old = [stored for stored in part if self._was_seen_before(stored, before)]
            await self._deleter.delete_all(resource, old, _BACKGROUND_DELETION)
            await clock.sleep(0)

    def _was_seen_before(self, stored: StoredObject, before: str) -> bool:
        try:
            return _last_seen_at(stored.decode()) < before
        except Exception as error:  # noqa: BLE001 - one event does not keep the others
            self._store.faults.report("api-event-expiry", f"expiring event {stored.key}", error)
            return False

    async def _process(self, task: str, location: ObjectLocation, uid: str) -> None:
        if task == "owner":
            for dependent in list(self._dependents.get(uid, ())):
                await self._process_dependent(dependent)
        elif task == "dependent":
            await self._process_dependent(location)
        elif task == "blocked":
            await self._unblock(uid)
        else:
            await self._process_terminating(location)

    def _read(self, location: ObjectLocation) -> tuple[ServerResource, JsonObject] | None:
        resource = self._store.catalog.find_by_collection(location[0])
        stored = self._store.collection(location[0]).latest(location[1])
        if resource is None or stored is None:
            return None
        return resource, stored.decode()

    async def _process_dependent(self, location: ObjectLocation) -> None:
        """Deletes an object without existing owners; else removes references to missing owners."""
        found = self._read(location)
        if found is None:
            return
        resource, item = found
        owners = item["metadata"].get("ownerReferences") or ()
        namespace = item["metadata"].get("namespace", "")
        existing = [owner for owner in owners if self._owner_exists(owner, namespace)]
        if len(existing) == len(owners):
            return
        if existing:
            item["metadata"]["ownerReferences"] = existing
            await self._store.put(resource, location[1], item, WriteOptions())
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
        """Whether an owner exists; owners of a kind that is not served count as existing."""
        found = self._find_owner(owner, namespace)
        if found is None:
            return True
        stored = self._store.collection(found[0].collection_name).latest(found[1])
        return stored is not None and stored.decode()["metadata"]["uid"] == owner["uid"]

    async def _unblock(self, uid: str) -> None:
        """Continues the deletion of an owner after one of its dependents is gone."""
        owner = self._foreground_owners.get(uid)
        if owner is not None:
            await self._process_terminating(owner)

    # ------------------------------------------------------------ terminating objects

    async def _process_terminating(self, location: ObjectLocation) -> None:
        """Takes the next step that the deletion of an object waits for."""
        found = self._read(location)
        if found is None or not found[1]["metadata"].get("deletionTimestamp"):
            return
        resource, item = found
        finalizers = item["metadata"].get("finalizers") or ()
        if ORPHAN_FINALIZER in finalizers:
            await self._orphan_dependents(item["metadata"]["uid"])
            await self._remove_finalizer(location, ORPHAN_FINALIZER)
        elif FOREGROUND_FINALIZER in finalizers:
            uid = item["metadata"]["uid"]
            self._foreground_owners[uid] = location
            if await self._delete_dependents(uid):
                await self._remove_finalizer(location, FOREGROUND_FINALIZER)
        elif CLEANUP_FINALIZER in finalizers and await self._delete_custom_objects(item):
            await self._remove_finalizer(location, CLEANUP_FINALIZER)
        elif location[0] == "/namespaces" and await self._delete_namespace_content(location[1]):
            await self._finalize_namespace(resource, location[1])

    async def _orphan_dependents(self, uid: str) -> None:
        for location in list(self._dependents.get(uid, ())):
            found = self._read(location)
            if found is None:
                continue
            resource, item = found
            owners = item["metadata"].get("ownerReferences") or ()
            kept = [owner for owner in owners if owner["uid"] != uid]
            item["metadata"].pop("ownerReferences", None)
            if kept:
                item["metadata"]["ownerReferences"] = kept
            await self._store.put(resource, location[1], item, WriteOptions())

    async def _delete_dependents(self, uid: str) -> bool:
        """Deletes dependents in the foreground; returns whether no blocking one is left."""
        blocking = False
        for location in list(self._dependents.get(uid, ())):
            found = self._read(location)
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
            left = self._read(location)
            owners = left[1]["metadata"].get("ownerReferences") or () if left else ()
            blocking = blocking or any(
                owner["uid"] == uid and owner.get("blockOwnerDeletion") for owner in owners
            )
        return not blocking

    async def _delete_custom_objects(self, definition: JsonObject) -> bool:
        """Deletes the objects of a definition; returns whether none is left."""
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

    async def _remove_finalizer(self, location: ObjectLocation, finalizer: str) -> None:
        found = self._read(location)
        if found is None:
            return
        resource, item = found
        left = [name for name in item["metadata"].get("finalizers") or () if name != finalizer]
        item["metadata"].pop("finalizers", None)
        if left:
            item["metadata"]["finalizers"] = left
        await self._put_or_remove(resource, location[1], item)

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
    """When an event last occurred, in RFC 3339, which sorts by time."""
    series = event.get("series") or {}
    times = (
        event.get("lastTimestamp"),
        series.get("lastObservedTime"),
        event.get("eventTime"),
        event["metadata"]["creationTimestamp"],
    )
    return max(str(time) for time in times if time)
