"""All collections in memory; every change is written to disk before it becomes visible.

A write takes the next resource version and is submitted to SQLite; readers and watches see it once
it is on disk. The steps up to the submission do not yield to the event loop, so writes cannot
interleave.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import msgspec

from scheduler.apiserver.auth.storage_limits import (
    StorageChange,
    StorageLimits,
    StoredUsage,
)
from scheduler.apiserver.base.errors import (
    forbidden,
    not_found,
    request_entity_too_large,
    service_unavailable,
)
from scheduler.apiserver.base.faults import FaultReporter
from scheduler.apiserver.base.heavy_work import HeavyWork
from scheduler.apiserver.kinds.admission import WriteOptions
from scheduler.apiserver.kinds.resources import ResourceCatalog, ServerResource
from scheduler.apiserver.storage.collection import ObjectCollection
from scheduler.apiserver.storage.sqlite import ObjectRow, SqliteStore
from scheduler.apiserver.storage.stored_object import StoredObject
from scheduler.hub.schema.json_types import JsonObject
from scheduler.runtime.clock import Clock

_encode = msgspec.json.Encoder().encode
_MAX_OBJECT_BYTES = 1_572_864
"""The size limit of an object: etcd's request limit of 1.5 MiB."""

WriteListener = Callable[[ServerResource, JsonObject, str], None]
"""Receives the resource, the object, and `ADDED`, `MODIFIED` or `DELETED`."""


class _StoredMetadata(msgspec.Struct, gc=False):
    name: str
    uid: str
    resourceVersion: str  # noqa: N815 - the name in JSON


class _StoredHead(msgspec.Struct, gc=False):
    """What every stored object has."""

    metadata: _StoredMetadata


_NO_LIMITS_GIVEN = StorageLimits()
_check_row = msgspec.json.Decoder(_StoredHead).decode


class ObjectStore:
    """The collections of objects, and the counter of resource versions."""

    def __init__(
        self,
        *,
        catalog: ResourceCatalog,
        database: SqliteStore,
        clock: Clock,
        faults: FaultReporter,
        limits: StorageLimits = _NO_LIMITS_GIVEN,
    ) -> None:
        self.catalog = catalog
        self.clock = clock
        self.faults = faults
        self.heavy_work = HeavyWork()
        self._usage = StoredUsage(limits)
        self.revision = 0
        """The revision of the newest write on disk, which lists report."""
        self._last_revision = 0
        self._loaded_revision = 0
        self._database = database
        self._on_the_way: dict[tuple[str, str], asyncio.Future[None]] = {}
        """The newest write of each object that is not on disk yet."""
        self._collections: dict[str, ObjectCollection] = {}
        self._listeners: list[WriteListener] = []

    def add_listener(self, listener: WriteListener) -> None:
        """Calls `listener` for every later write, once it is on disk."""
        self._listeners.append(listener)

    def load(self) -> None:
        """Reads all objects from disk."""
        revision, rows = self._database.open()
        self.revision = self._last_revision = self._loaded_revision = revision
        for row in rows:
            data = row.data or b""
            try:
                _check_row(data)
                stored = StoredObject.of_data(row.key, row.revision, data)
            except Exception as error:  # noqa: BLE001 - one object does not stop the start
                context = f"reading {row.resource} {row.key}, which is left out,"
                self.faults.report("api-load", context, error)
                continue
            self.collection(row.resource).load(stored)
            self._usage.load((row.resource, row.key), row.owner, len(data))

    def collection(self, name: str) -> ObjectCollection:
        """The collection of a resource; an empty one if it has no objects."""
        found = self._collections.get(name)
        if found is None:
            found = self._collections[name] = ObjectCollection(self._loaded_revision)
        return found

    @staticmethod
    def key_of(resource: ServerResource, namespace: str, name: str) -> str:
        """The key of an object in its collection."""
        return f"{namespace}/{name}" if resource.namespaced else name

    def get(self, resource: ServerResource, namespace: str, name: str) -> StoredObject:
        """The object on disk.

        Raises:
            ApiError: 404, the object does not exist.
        """
        stored = self.collection(resource.collection_name).objects.get(
            self.key_of(resource, namespace, name)
        )
        if stored is None:
            raise not_found(resource.group_resource, name)
        return stored

    def check_accepts_new_objects(
        self, resource: ServerResource, namespace: str, name: str = ""
    ) -> None:
        """Refuses new objects where the namespace or the definition is missing or terminating.

        Raises:
            ApiError: 404 for a missing namespace, 403 while something is terminating.
        """
        if resource.is_terminating:
            why = "create not allowed while custom resource definition is terminating"
            raise forbidden(resource.group_resource, "", why)
        spaces = self.catalog.find("", "v1", "namespaces")
        if not resource.namespaced or spaces is None:
            return
        stored = self.collection(spaces.collection_name).latest(namespace)
        if stored is None:
            raise not_found(spaces.group_resource, namespace)
        if b'"deletionTimestamp"' in stored.data and stored.decode()["metadata"].get(
            "deletionTimestamp"
        ):
            why = (
                f"unable to create new content in namespace {namespace} "
                "because it is being terminated"
            )
            error = forbidden(resource.group_resource, name, why)
            cause = {
                "reason": "NamespaceTerminating",
                "message": f"namespace {namespace} is being terminated",
                "field": "metadata.namespace",
            }
            raise replace(error, details=error.details | {"causes": [cause]})

    async def put(
        self, resource: ServerResource, key: str, item: JsonObject, options: WriteOptions
    ) -> bytes:
        """Writes an object without checks, which are the caller's; returns its JSON."""
        return await self._commit(resource, key, item, options, is_deletion=False)

    async def remove(
        self, resource: ServerResource, key: str, item: JsonObject, options: WriteOptions
    ) -> bytes:
        """Deletes an object; watches receive `item` as its last state. Returns its JSON."""
        return await self._commit(resource, key, item, options, is_deletion=True)

    async def _commit(
        self,
        resource: ServerResource,
        key: str,
        item: JsonObject,
        options: WriteOptions,
        *,
        is_deletion: bool,
    ) -> bytes:
        collection = self.collection(resource.collection_name)
        location = (resource.collection_name, key)
        before = collection.latest(key)
        if options.dry_run:
            data = _encode(item)
            size = 0 if is_deletion else len(data)
            self._check_limits(resource, item, location, before, size)
            return data
        revision = self._last_revision + 1
        item["metadata"]["resourceVersion"] = str(revision)
        stored, data = StoredObject.of_item(key, revision, item, before)
        if len(data) > _MAX_OBJECT_BYTES:
            raise request_entity_too_large(_MAX_OBJECT_BYTES)
        change = self._check_limits(
            resource, item, location, before, 0 if is_deletion else len(data)
        )
        self._last_revision = revision
        self._usage.apply(location, change)
        collection.pending_writes[key] = (revision, None if is_deletion else stored)
        row = ObjectRow(
            *(resource.collection_name, key, revision),
            *((None, "") if is_deletion else (data, change.owner)),
        )
        done = self._on_the_way[location] = self._database.submit((row,))

        def on_disk(finished: "asyncio.Future[None]") -> None:
            if self._on_the_way.get(location) is finished:
                del self._on_the_way[location]
            if finished.cancelled() or finished.exception() is not None:
                collection.drop_pending(key, revision)
                self._usage.revert(location, change)
            else:
                self._publish(resource, collection, stored, item, is_deletion=is_deletion)

        done.add_done_callback(on_disk)
        try:
            await asyncio.shield(done)  # a disconnected client does not stop the write
        except Exception as error:
            self.faults.report("api-storage", f"writing {resource.collection_name} {key}", error)
            raise service_unavailable(f"writing to disk failed: {error}") from error
        return data

    async def wait_until_on_disk(self, resource: ServerResource, key: str) -> None:
        """Waits for the newest write of an object, so that the next read shows it or none.

        A client that has lost against a write reads the object again and tries at once.
        """
        done = self._on_the_way.get((resource.collection_name, key))
        if done is not None:
            await asyncio.wait({done})

    def _check_limits(
        self,
        resource: ServerResource,
        item: JsonObject,
        location: tuple[str, str],
        before: StoredObject | None,
        size_bytes: int,
    ) -> StorageChange:
        old = before.size if before else 0
        name = item["metadata"]["name"]
        return self._usage.check(resource.group_resource, name, location, old, size_bytes)

    def _publish(
        self,
        resource: ServerResource,
        collection: ObjectCollection,
        stored: StoredObject,
        item: JsonObject,
        *,
        is_deletion: bool,
    ) -> None:
        """Makes a write visible to readers, watches and listeners, once it is on disk."""
        is_new = stored.key not in collection.objects
        kind = "DELETED" if is_deletion else "ADDED" if is_new else "MODIFIED"
        collection.commit(stored.key, stored, is_deletion=is_deletion)
        self.revision = max(self.revision, stored.revision)
        for listener in self._listeners:
            try:
                listener(resource, item, kind)
            except Exception as error:  # noqa: BLE001 - the barrier of all followers of writes
                context = f"following {resource.collection_name} {stored.key}"
                self.faults.report("api-listener", context, error)


def is_deletion_blocked(item: JsonObject) -> bool:
    """Whether finalizers or a grace period keep an object that is marked for deletion."""
    metadata = item["metadata"]
    if metadata.get("finalizers") or (
        item.get("kind") == "Namespace" and item["spec"].get("finalizers")
    ):
        return True
    return bool(metadata.get("deletionGracePeriodSeconds"))
