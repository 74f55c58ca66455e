"""All collections in memory, and the only way by which they change: through the disk.

A write takes the next resource version and goes to the store; readers and watchers see it once it
is on disk. Everything up to the store happens without a pause of the event loop.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import replace

import msgspec

from scheduler.apiserver.base.errors import forbidden, internal_error, not_found
from scheduler.apiserver.kinds.admission import WriteOptions
from scheduler.apiserver.kinds.resources import ResourceCatalog, ServerResource
from scheduler.apiserver.storage.collection import ObjectCollection, StoredObject
from scheduler.apiserver.storage.sqlite import ObjectRow, SqliteStore
from scheduler.hub.schema.json_types import JsonObject
from scheduler.runtime.clock import Clock

_encode = msgspec.json.Encoder().encode
_MAX_OBJECT_BYTES = 1_572_864
"""As etcd's request limit of 1.5 MiB."""

WriteListener = Callable[[ServerResource, JsonObject, str], None]
"""Receives the resource, the object, and `ADDED`, `MODIFIED` or `DELETED`."""


class ObjectStore:
    """The objects, their collections and their versions."""

    def __init__(self, *, catalog: ResourceCatalog, database: SqliteStore, clock: Clock) -> None:
        self.catalog = catalog
        self.clock = clock
        self.revision = 0
        """Of the newest write on disk: what a list may claim to show."""
        self._last_revision = 0
        self._loaded_revision = 0
        self._database = database
        self._collections: dict[str, ObjectCollection] = {}
        self._listeners: list[WriteListener] = []

    def add_listener(self, listener: WriteListener) -> None:
        """Calls `listener` for every later write, once it is on disk."""
        self._listeners.append(listener)

    def load(self) -> None:
        """Reads everything from disk."""
        revision, rows = self._database.open()
        self.revision = self._last_revision = self._loaded_revision = revision
        for row in rows:
            if row.data is not None:
                stored = StoredObject(row.key, row.revision, row.data)
                self.collection(row.resource).load(stored)

    def collection(self, name: str) -> ObjectCollection:
        """The objects of a resource."""
        found = self._collections.get(name)
        if found is None:
            found = self._collections[name] = ObjectCollection(self._loaded_revision)
        return found

    @staticmethod
    def key_of(resource: ServerResource, namespace: str, name: str) -> str:
        """Where an object lies in its collection."""
        return f"{namespace}/{name}" if resource.namespaced else name

    def get(self, resource: ServerResource, namespace: str, name: str) -> StoredObject:
        """The object as it is on disk.

        Raises:
            ApiError: 404.
        """
        stored = self.collection(resource.collection_name).objects.get(
            self.key_of(resource, namespace, name)
        )
        if stored is None:
            raise not_found(resource.group_resource, name)
        return stored

    def check_accepts_new_objects(self, resource: ServerResource, namespace: str) -> None:
        """Refuses new objects in a namespace, or of a definition, that is not there or is going.

        Raises:
            ApiError: 404, 403.
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
            error = forbidden(resource.group_resource, "", why)
            cause = {
                "reason": "NamespaceTerminating",
                "message": f"namespace {namespace} is being terminated",
                "field": "metadata.namespace",
            }
            raise replace(error, details=error.details | {"causes": [cause]})

    async def put(
        self, resource: ServerResource, key: str, item: JsonObject, options: WriteOptions
    ) -> bytes:
        """Writes an object as it is; whoever calls has checked it."""
        return await self._commit(resource, key, item, options, is_deletion=False)

    async def remove(
        self, resource: ServerResource, key: str, item: JsonObject, options: WriteOptions
    ) -> bytes:
        """Deletes an object for good; the last state goes to the watchers."""
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
        if options.dry_run:
            return _encode(item)
        self._last_revision += 1
        revision = self._last_revision
        item["metadata"]["resourceVersion"] = str(revision)
        data = _encode(item)
        if len(data) > _MAX_OBJECT_BYTES:
            raise internal_error(f"etcdserver: request is too large ({len(data)} bytes)")
        collection = self.collection(resource.collection_name)
        stored = StoredObject(key, revision, data)
        collection.pending_writes[key] = (revision, None if is_deletion else stored)
        row = ObjectRow(resource.collection_name, key, revision, None if is_deletion else data)
        done = self._database.submit((row,))

        def on_disk(finished: "asyncio.Future[None]") -> None:
            if finished.cancelled() or finished.exception() is not None:
                collection.drop_pending(key, revision)
            else:
                self._publish(resource, collection, stored, item, is_deletion=is_deletion)

        done.add_done_callback(on_disk)
        try:
            await asyncio.shield(done)  # who asked may leave; the write goes on
        except sqlite3.Error as error:
            raise internal_error(f"the write did not reach the disk: {error}") from error
        return data

    def _publish(
        self,
        resource: ServerResource,
        collection: ObjectCollection,
        stored: StoredObject,
        item: JsonObject,
        *,
        is_deletion: bool,
    ) -> None:
        """Shows a write to readers and watchers, now that it is on disk."""
        is_new = stored.key not in collection.objects
        kind = "DELETED" if is_deletion else "ADDED" if is_new else "MODIFIED"
        collection.commit(stored.key, stored, is_deletion=is_deletion)
        self.revision = max(self.revision, stored.revision)
        for listener in self._listeners:
            listener(resource, item, kind)


def is_deletion_blocked(item: JsonObject) -> bool:
    """Whether something keeps an object that is to be deleted."""
    metadata = item["metadata"]
    if metadata.get("finalizers") or (
        item.get("kind") == "Namespace" and item["spec"].get("finalizers")
    ):
        return True
    return bool(metadata.get("deletionGracePeriodSeconds"))
