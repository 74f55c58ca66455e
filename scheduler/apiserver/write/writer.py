"""How an object becomes another: the one way from a request to the disk.

Every write runs the same steps: defaults, pruning, what the kind does, generation, validation,
field ownership; then it gets the next resource version and goes to the store; readers and watchers
see it once it is on disk. All steps up to the store happen without a pause of the event loop, so
that two writers can never overtake each other.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from scheduler.apiserver.base.errors import (
    already_exists,
    bad_request,
    conflict,
    not_found,
    server_error,
)
from scheduler.apiserver.kinds.admission import WriteOptions, checked
from scheduler.apiserver.kinds.metadata import (
    carry_over,
    check_shape,
    place,
    refuse,
    rfc3339,
    stamp_new,
)
from scheduler.apiserver.kinds.resources import Resource
from scheduler.apiserver.storage.collection import Stored
from scheduler.apiserver.storage.object_store import Heap, holds
from scheduler.apiserver.write.managed_fields import Writer, after_update, ordered, usable_entries
from scheduler.apiserver.write.server_side_apply import Applied, apply
from scheduler.apiserver.write.typed import check_typed
from scheduler.hub.schema.json_types import Json, JsonObject
from scheduler.hub.schema.problems import invalid_value

log = logging.getLogger(__name__)

Change = Callable[[JsonObject], Json]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a write left."""

    item: JsonObject
    data: bytes
    created: bool = False
    deleted: bool = False


class Registry(Heap):
    """The objects, and the ways in which clients write them."""

    # ------------------------------------------------------------ writes

    async def create(
        self, resource: Resource, namespace: str, item: Json, options: WriteOptions
    ) -> Outcome:
        """Creates an object.

        Raises:
            ApiError: 400, 403, 404 (no such namespace), 409 (the name is taken), 422.
        """
        item = check_shape(resource, item)
        place(resource, item, namespace)
        if item["metadata"].get("resourceVersion") not in {None, "", "0"}:
            raise server_error("resourceVersion should not be set on objects to be created")
        self.check_place(resource, namespace)
        writer = self._writer(resource, options, "Update")
        new = self._new(resource, item, options, writer)
        return await self._insert(resource, new, options)

    def _new(
        self, resource: Resource, item: JsonObject, options: WriteOptions, writer: Writer
    ) -> JsonObject:
        entries = usable_entries(item["metadata"].pop("managedFields", None)) or []
        item["metadata"].pop("resourceVersion", None)
        if resource.has_status and not resource.behaviour.status_on_create:
            item.pop("status", None)
        stamp_new(resource, item, self.clock.now())
        new = checked(resource, item, None, options)
        if writer.operation == "Update":
            entries = after_update(resource.node, {}, new, entries, writer)
            if entries:
                new["metadata"]["managedFields"] = entries
        return new

    async def _insert(self, resource: Resource, new: JsonObject, options: WriteOptions) -> Outcome:
        metadata = new["metadata"]
        key = self.key(resource, metadata.get("namespace", ""), metadata["name"])
        there = self.collection(resource.storage).latest(key)
        if there is not None:
            error = already_exists(resource.subject, metadata["name"])
            if b'"deletionTimestamp"' in there.data:
                error.message = f"object is being deleted: {error.message}"
            raise error
        data = await self.put(resource, key, new, options)
        return Outcome(new, data, created=True)

    async def update(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        change: Change,
        options: WriteOptions,
    ) -> Outcome:
        """Changes an object that is there; `change` makes the new one of the old, in view form.

        Raises:
            ApiError: 400, 404, 409, 422.
        """
        key = self.key(resource, namespace, name)
        stored = self.collection(resource.storage).latest(key)
        if stored is None:
            raise not_found(resource.subject, name)
        old = stored.decoded()
        changed = change(_to_view(resource, stored.decoded()))
        if isinstance(changed, dict) and changed.get("metadata") is None:
            raise bad_request(
                f"the name of the object ({name} based on URL) was undeterminable: "
                "name must be provided"
            )
        new = check_shape(resource, changed)
        place(resource, new, namespace, name)
        entries = usable_entries(new["metadata"].pop("managedFields", None))
        if entries is None:
            entries = old["metadata"].get("managedFields") or []
        new = self._merged(resource, old, new, options)
        writer = self._writer(resource, options, "Update")
        entries = after_update(resource.node, old, new, entries, writer)
        return await self._replace(
            resource, key, stored, old=old, new=new, entries=entries, options=options
        )

    def _merged(
        self, resource: Resource, old: JsonObject, new: JsonObject, options: WriteOptions
    ) -> JsonObject:
        """The new object with all that a client may not change taken from the old one."""
        carry_over(resource, new, old, patched=options.patches)
        if options.subresource == "status":
            status = new.get("status")
            metadata = dict(old["metadata"])
            new = {**old, "metadata": metadata}
            new.pop("status", None)
            if status is not None:
                new["status"] = status
        elif resource.has_status and options.subresource != "binding":
            new.pop("status", None)
            if "status" in old:
                new["status"] = old["status"]
        return checked(resource, new, old, options)

    async def apply(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        config: Json,
        options: WriteOptions,
    ) -> Outcome:
        """Server-side apply: creates or changes an object, by field ownership.

        Raises:
            ApiError: 400, 404, 409 (conflicts), 422.
        """
        config = check_shape(resource, config)
        place(resource, config, namespace, name)
        if "managedFields" in config["metadata"]:
            raise bad_request("metadata.managedFields must be nil")
        check_typed(resource.node, config)
        options.applies = True
        writer = self._writer(resource, options, "Apply")
        key = self.key(resource, namespace, name)
        stored = self.collection(resource.storage).latest(key)
        if stored is None:
            return await self._apply_new(resource, namespace, config, options, writer)
        old = stored.decoded()
        config = _only_writable(resource, config, options.subresource)
        live = _to_view(resource, stored.decoded())
        done = apply(resource.node, live, config, writer, force=options.force)
        new = self._merged(resource, old, done.item, options)
        entries = done.entries(writer)
        return await self._replace(
            resource, key, stored, old=old, new=new, entries=entries, options=options
        )

    async def _apply_new(
        self,
        resource: Resource,
        namespace: str,
        config: JsonObject,
        options: WriteOptions,
        writer: Writer,
    ) -> Outcome:
        if options.subresource:
            raise not_found(resource.subject, config["metadata"]["name"])
        if config["metadata"].get("uid"):
            _refuse_uid(resource, config)
        self.check_place(resource, namespace)
        config = _only_writable(resource, config, options.subresource)
        empty: JsonObject = {"metadata": {}}
        done: Applied = apply(resource.node, empty, config, writer, force=True)
        new = self._new(resource, done.item, options, writer)
        new["metadata"]["managedFields"] = done.entries(writer)
        return await self._insert(resource, new, options)

    async def _replace(
        self,
        resource: Resource,
        key: str,
        stored: Stored,
        *,
        old: JsonObject,
        new: JsonObject,
        entries: list[JsonObject],
        options: WriteOptions,
    ) -> Outcome:
        """Writes a changed object, or nothing where nothing changed."""
        new["metadata"].pop("managedFields", None)
        if entries:
            new["metadata"]["managedFields"] = ordered(entries)
        if new == old:
            return Outcome(old, stored.data)
        metadata = new["metadata"]
        if metadata.get("deletionTimestamp") and not holds(new):
            data = await self.remove(resource, key, new, options)
            return Outcome(new, data, deleted=True)
        data = await self.put(resource, key, new, options)
        return Outcome(new, data)

    def _writer(self, resource: Resource, options: WriteOptions, operation: str) -> Writer:
        return Writer(
            options.manager,
            operation,
            resource.api_version,
            options.subresource,
            rfc3339(self.clock.now()),
            writes_status=not resource.has_status or options.subresource not in {"", "scale"},
        )

    # ------------------------------------------------------------ checks


def _refuse_uid(resource: Resource, config: JsonObject) -> None:
    """An apply cannot choose the incarnation that it creates."""
    uid = config["metadata"]["uid"]
    if not resource.custom:
        raise conflict(
            resource.subject,
            config["metadata"]["name"],
            f"Precondition failed: UID in precondition: {uid}, UID in object meta: ",
        )
    refuse(resource, config, [invalid_value("metadata.uid", uid, "field is immutable")])


def _to_view(resource: Resource, item: JsonObject) -> JsonObject:
    return resource.to_view(item) if resource.to_view else item


def _only_writable(resource: Resource, config: JsonObject, subresource: str) -> JsonObject:
    """What of an applied configuration this endpoint takes: spec here, status there."""
    if subresource == "status":
        metadata = {
            key: value
            for key, value in config["metadata"].items()
            if key in {"name", "namespace", "uid", "resourceVersion"}
        }
        kept = {key: config[key] for key in ("apiVersion", "kind", "status") if key in config}
        return kept | {"metadata": metadata}
    if resource.has_status:
        return {key: value for key, value in config.items() if key != "status"}
    return config
