"""All collections in memory, and the only way by which they change: through the disk.

A write takes the next resource version and goes to the store; readers and watchers see it once it
is on disk. Everything up to the store happens without a pause of the event loop.
"""

import asyncio
import sqlite3
from collections.abc import Callable

import msgspec

from scheduler.apiserver.base.errors import forbidden, internal, not_found
from scheduler.apiserver.kinds.admission import WriteOptions
from scheduler.apiserver.kinds.resources import Catalog, Resource
from scheduler.apiserver.storage.collection import Collection, Stored
from scheduler.apiserver.storage.sqlite import Row, Store
from scheduler.hub.schema.json_types import JsonObject
from scheduler.runtime.clock import Clock

_encode = msgspec.json.Encoder().encode
_OBJECT_LIMIT_BYTES = 1_572_864
"""As etcd's request limit of 1.5 MiB."""


class Heap:
    """The objects, their collections and their versions."""

    def __init__(self, catalog: Catalog, store: Store, clock: Clock) -> None:
        self.catalog = catalog
        self.clock = clock
        self.revision = 0
        """Of the newest write on disk: what a list may claim to show."""
        self._next = 0
        self._start = 0
        self._store = store
        self._collections: dict[str, Collection] = {}
        self.listeners: list[Callable[[Resource, JsonObject, str], None]] = []
        """Told of every write on disk: the resource, the object, ADDED, MODIFIED or DELETED."""

    def load(self) -> None:
        """Reads everything from disk."""
        revision, rows = self._store.open()
        self.revision = self._next = self._start = revision
        for row in rows:
            if row.data is not None:
                stored = Stored(row.key, row.revision, row.data)
                self.collection(row.resource).load(stored)

    def collection(self, storage: str) -> Collection:
        """The objects of a resource."""
        found = self._collections.get(storage)
        if found is None:
            found = self._collections[storage] = Collection(storage, self._start)
        return found

    @staticmethod
    def key(resource: Resource, namespace: str, name: str) -> str:
        """Where an object lies in its collection."""
        return f"{namespace}/{name}" if resource.namespaced else name

    def read(self, resource: Resource, namespace: str, name: str) -> Stored:
        """The object as it is on disk.

        Raises:
            ApiError: 404.
        """
        stored = self.collection(resource.storage).objects.get(self.key(resource, namespace, name))
        if stored is None:
            raise not_found(resource.subject, name)
        return stored

    def check_place(self, resource: Resource, namespace: str) -> None:
        """Refuses new objects in a namespace, or of a definition, that is not there or is going.

        Raises:
            ApiError: 404, 403.
        """
        if resource.is_terminating:
            why = "create not allowed while custom resource definition is terminating"
            raise forbidden(resource.subject, "", why)
        spaces = self.catalog.find("", "v1", "namespaces")
        if not resource.namespaced or spaces is None:
            return
        stored = self.collection(spaces.storage).latest(namespace)
        if stored is None:
            raise not_found(spaces.subject, namespace)
        if b'"deletionTimestamp"' in stored.data and stored.decoded()["metadata"].get(
            "deletionTimestamp"
        ):
            why = (
                f"unable to create new content in namespace {namespace} "
                "because it is being terminated"
            )
            error = forbidden(resource.subject, "", why)
            error.details["causes"] = [
                {
                    "reason": "NamespaceTerminating",
                    "message": f"namespace {namespace} is being terminated",
                    "field": "metadata.namespace",
                }
            ]
            raise error

    async def put(
        self, resource: Resource, key: str, item: JsonObject, options: WriteOptions
    ) -> bytes:
        """Writes an object as it is; whoever calls has checked it."""
        return await self._commit(resource, key, item, options, deleted=False)

    async def remove(
        self, resource: Resource, key: str, item: JsonObject, options: WriteOptions
    ) -> bytes:
        """Deletes an object for good; the last state goes to the watchers."""
        return await self._commit(resource, key, item, options, deleted=True)

    async def _commit(
        self,
        resource: Resource,
        key: str,
        item: JsonObject,
        options: WriteOptions,
        *,
        deleted: bool,
    ) -> bytes:
        if options.dry_run:
            return _encode(item)
        self._next += 1
        revision = self._next
        item["metadata"]["resourceVersion"] = str(revision)
        data = _encode(item)
        if len(data) > _OBJECT_LIMIT_BYTES:
            raise internal(f"etcdserver: request is too large ({len(data)} bytes)")
        collection = self.collection(resource.storage)
        stored = Stored(key, revision, data)
        collection.head[key] = (revision, None if deleted else stored)
        row = Row(resource.storage, key, revision, None if deleted else data)
        done = self._store.submit((row,))

        def on_disk(finished: "asyncio.Future[None]") -> None:
            if finished.cancelled() or finished.exception() is not None:
                collection.forget(key, revision)
            else:
                self._publish(resource, collection, stored, item, deleted=deleted)

        done.add_done_callback(on_disk)
        try:
            await asyncio.shield(done)  # who asked may leave; the write goes on
        except sqlite3.Error as error:
            raise internal(f"the write did not reach the disk: {error}") from error
        return data

    def _publish(
        self,
        resource: Resource,
        collection: Collection,
        stored: Stored,
        item: JsonObject,
        *,
        deleted: bool,
    ) -> None:
        """Shows a write to readers and watchers, now that it is on disk."""
        is_new = stored.key not in collection.objects
        kind = "DELETED" if deleted else "ADDED" if is_new else "MODIFIED"
        collection.commit(stored.key, stored, deleted=deleted)
        self.revision = max(self.revision, stored.revision)
        for listener in self.listeners:
            listener(resource, item, kind)


def holds(item: JsonObject) -> bool:
    """Whether something keeps an object that is to be deleted."""
    metadata = item["metadata"]
    if metadata.get("finalizers") or (
        item.get("kind") == "Namespace" and item["spec"].get("finalizers")
    ):
        return True
    return bool(metadata.get("deletionGracePeriodSeconds"))
