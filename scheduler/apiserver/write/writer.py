"""The writes of clients: create, update and server-side apply.

Every write takes the same steps: pruning, defaults, the strategy of the kind, generation,
validation, field ownership. Then it gets the next resource version and is submitted to the
database; readers and watches see it once it is on disk. The steps of small objects do not yield to
the event loop, so two writes cannot interleave. Large objects are computed in a thread; if another
write changes the object meanwhile, the change is computed again, as in kube-apiserver.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from types import MappingProxyType

from scheduler.apiserver.base.errors import (
    ApiError,
    already_exists,
    bad_request,
    conflict,
    name_undeterminable,
    not_found,
)
from scheduler.apiserver.base.heavy_work import MIN_BYTES
from scheduler.apiserver.base.value_bounds import MAX_VALUES
from scheduler.apiserver.kinds.admission import WriteOptions, admit_object
from scheduler.apiserver.kinds.metadata import (
    check_type_meta,
    ensure_name_and_namespace,
    fill_system_metadata,
    format_rfc3339,
    keep_system_metadata,
    raise_if_invalid,
)
from scheduler.apiserver.kinds.resources import ServerResource
from scheduler.apiserver.storage.object_store import ObjectStore, is_deletion_blocked
from scheduler.apiserver.storage.stored_object import StoredObject
from scheduler.apiserver.write.access_checks import AccessChecks, check_access
from scheduler.apiserver.write.managed_fields import (
    FieldManager,
    parse_managed_fields,
    sort_entries,
    update_managed_fields,
)
from scheduler.apiserver.write.server_side_apply import apply_configuration
from scheduler.apiserver.write.status_checks import StatusCheck
from scheduler.apiserver.write.typed import check_typed_patch
from scheduler.hub.schema.cel import reads_no_spec
from scheduler.hub.schema.json_types import Json, JsonObject
from scheduler.hub.schema.problems import invalid_value

TransformFunc = Callable[[JsonObject], Json]
MutateFunc = Callable[[JsonObject], None]
"""Changes a written object in place before it is admitted, as a MutatingAdmissionPolicy does."""
_MAX_KEPT_BYTES = MAX_VALUES
"""An object of fewer bytes, with what is written, cannot have more than `MAX_VALUES` values."""
_MAX_ATTEMPTS = 5
"""How often a change of a large object is computed again because others changed it meanwhile."""


@dataclass(frozen=True, slots=True)
class WriteResult:
    """The result of a write: the object, and its JSON."""

    item: JsonObject
    data: bytes
    created: bool = False


@dataclass(frozen=True, slots=True)
class _Change:
    """What an object becomes."""

    old: JsonObject
    new: JsonObject
    is_empty: bool

    @staticmethod
    def of(old: JsonObject, new: JsonObject, entries: list[JsonObject]) -> "_Change":
        new["metadata"].pop("managedFields", None)
        if entries:
            new["metadata"]["managedFields"] = sort_entries(entries)
        return _Change(old, new, is_empty=new == old)


class ObjectWriter(ObjectStore):
    """The object store with the writes of clients.

    Attributes:
        status_checks: by kind, what refuses a status by another object.
        mutations: by group and kind, what changes new objects and updates of no subresource.
        access_checks: by group and kind, what asks for further rights of the writer.
    """

    status_checks: Mapping[str, StatusCheck] = MappingProxyType({})
    mutations: Mapping[tuple[str, str], MutateFunc] = MappingProxyType({})
    access_checks: AccessChecks = MappingProxyType({})

    async def create(
        self, resource: ServerResource, namespace: str, item: Json, options: WriteOptions
    ) -> WriteResult:
        """Creates an object.

        Raises:
            ApiError: 400, 403, 404 (no such namespace), 409 (the object exists), 422.
        """
        item = check_type_meta(resource, item)
        ensure_name_and_namespace(resource, item, namespace)
        if item["metadata"].get("resourceVersion") not in {None, "", "0"}:
            raise bad_request("resourceVersion should not be set on objects to be created")
        name = str(item["metadata"].get("name") or "")
        self.check_accepts_new_objects(resource, namespace, name)
        manager = self._field_manager(resource, options, "Update")
        checked = item
        new = await self.heavy_work.run(
            _size_of_work(resource, options),
            lambda: self._prepare_new(resource, checked, options, manager),
        )
        return await self._insert_new(resource, new, options)

    def _prepare_new(
        self,
        resource: ServerResource,
        item: JsonObject,
        options: WriteOptions,
        manager: FieldManager,
    ) -> JsonObject:
        entries = parse_managed_fields(item["metadata"].pop("managedFields", None)) or []
        item["metadata"].pop("resourceVersion", None)
        if resource.has_status and not resource.strategy.status_on_create:
            item.pop("status", None)
        fill_system_metadata(resource, item, self.clock.now())
        self._mutate(resource, item)
        new = admit_object(resource, item, None, options)
        check_access(self.access_checks, resource.group_resource, None, new, options.allows)
        if manager.operation == "Update":
            entries = update_managed_fields(resource.schema_node, {}, new, entries, manager)
            if entries:
                new["metadata"]["managedFields"] = entries
        return new

    async def _insert_new(
        self, resource: ServerResource, new: JsonObject, options: WriteOptions
    ) -> WriteResult:
        metadata = new["metadata"]
        self.check_accepts_new_objects(resource, metadata.get("namespace", ""), metadata["name"])
        key = self.key_of(resource, metadata.get("namespace", ""), metadata["name"])
        existing = self.collection(resource.collection_name).latest(key)
        if existing is not None:
            error = already_exists(resource.group_resource, metadata["name"])
            if b'"deletionTimestamp"' in existing.data:
                error = replace(error, message=f"object is being deleted: {error.message}")
            await self.wait_until_on_disk(resource, key)
            raise error
        data = await self.put(resource, key, new, options)
        return WriteResult(new, data, created=True)

    async def update(
        self,
        resource: ServerResource,
        namespace: str,
        name: str,
        transform: TransformFunc,
        options: WriteOptions,
    ) -> WriteResult:
        """Changes an existing object.

        Args:
            resource: the resource in the version that the client uses.
            namespace: the namespace of the object; empty for cluster-scoped resources.
            name: the name of the object.
            transform: returns the new object, given a copy of the old one in that version.
            options: the options of the write.

        Raises:
            ApiError: 400, 404, 409, 422.
        """
        key = self.key_of(resource, namespace, name)

        def compute(stored: StoredObject) -> _Change:
            return self._compute_update(
                resource,
                namespace=namespace,
                name=name,
                stored=stored,
                transform=transform,
                options=options,
            )

        return await self._change(resource, key, name, options, compute)

    async def _change(
        self,
        resource: ServerResource,
        key: str,
        name: str,
        options: WriteOptions,
        compute: Callable[[StoredObject], "_Change"],
    ) -> WriteResult:
        """Computes a change of the stored object and writes it, again if it changed meanwhile."""
        collection = self.collection(resource.collection_name)
        for _attempt in range(_MAX_ATTEMPTS):
            stored = collection.latest(key)
            if stored is None:
                raise not_found(resource.group_resource, name)
            keeps_spec = _keeps_spec(resource, stored, options)
            size = stored.size_around_spec if keeps_spec else stored.size
            size = max(_size_of_work(resource, options), size)
            try:
                change = await self.heavy_work.run(size, partial(compute, stored))
            except ApiError as error:
                if error.code == HTTPStatus.CONFLICT:
                    await self.wait_until_on_disk(resource, key)
                raise
            if collection.latest(key) is stored:
                return await self._write_if_changed(resource, key, stored, change, options)
        await self.wait_until_on_disk(resource, key)
        raise conflict(resource.group_resource, name)

    def _compute_update(
        self,
        resource: ServerResource,
        *,
        namespace: str,
        name: str,
        stored: StoredObject,
        transform: TransformFunc,
        options: WriteOptions,
    ) -> "_Change":
        if _keeps_spec(resource, stored, options):
            old, served = stored.decode_around_spec()
        else:
            old, served = stored.decode(), resource.to_served_version(stored.decode())
        changed = transform(served)
        if isinstance(changed, dict) and changed.get("metadata") is None:
            raise name_undeterminable(name)
        new = check_type_meta(resource, changed)
        ensure_name_and_namespace(resource, new, namespace, name)
        given, owned = (
            new["metadata"].pop("managedFields", None),
            old["metadata"].get("managedFields"),
        )
        entries = None if given == owned else parse_managed_fields(given)
        if entries is None:
            entries = owned or []
        new = self._prepare_update(resource, old, new, options)
        manager = self._field_manager(resource, options, "Update")
        entries = update_managed_fields(resource.schema_node, old, new, entries, manager)
        return _Change.of(old, new, entries)

    def _prepare_update(
        self, resource: ServerResource, old: JsonObject, new: JsonObject, options: WriteOptions
    ) -> JsonObject:
        """Takes what a client may not change from the old object, then admits the new one."""
        keep_system_metadata(resource, new, old, is_patch=options.is_patch)
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
        if options.subresource:
            return admit_object(resource, new, old, options)
        self._mutate(resource, new)
        new = admit_object(resource, new, old, options)
        check_access(self.access_checks, resource.group_resource, old, new, options.allows)
        return new

    def _mutate(self, resource: ServerResource, item: JsonObject) -> None:
        names = resource.group_resource
        mutate = self.mutations.get((names.group, names.kind))
        if mutate is not None:
            mutate(item)

    async def apply(
        self,
        resource: ServerResource,
        namespace: str,
        name: str,
        config: Json,
        options: WriteOptions,
    ) -> WriteResult:
        """Creates or changes an object by server-side apply.

        Raises:
            ApiError: 400, 404, 409 (conflicts), 422.
        """
        config = check_type_meta(resource, config)
        ensure_name_and_namespace(resource, config, namespace, name)
        if "managedFields" in config["metadata"]:
            raise bad_request("metadata.managedFields must be nil")
        if resource.to_storage_version is not None:  # fields are owned in the version of storage
            config = resource.to_storage_version(config)
        checked = config
        await self.heavy_work.run(
            options.size_bytes, lambda: check_typed_patch(resource.schema_node, checked)
        )
        options = replace(options, is_apply=True)
        manager = self._field_manager(resource, options, "Apply")
        key = self.key_of(resource, namespace, name)
        if self.collection(resource.collection_name).latest(key) is None:
            return await self._apply_new(resource, namespace, checked, options, manager)
        wanted = _keep_writable_fields(resource, checked, options.subresource)

        def compute(stored: StoredObject) -> _Change:
            applied = apply_configuration(
                resource.schema_node, stored.decode(), wanted, manager, force=options.force
            )
            old = stored.decode()
            new = self._prepare_update(resource, old, applied.item, options)
            return _Change.of(old, new, applied.managed_fields_of(manager))

        return await self._change(resource, key, name, options, compute)

    async def _apply_new(
        self,
        resource: ServerResource,
        namespace: str,
        config: JsonObject,
        options: WriteOptions,
        manager: FieldManager,
    ) -> WriteResult:
        if options.subresource:
            raise not_found(resource.group_resource, config["metadata"]["name"])
        if config["metadata"].get("uid"):
            _refuse_uid(resource, config)
        self.check_accepts_new_objects(resource, namespace, config["metadata"]["name"])
        config = _keep_writable_fields(resource, config, options.subresource)
        empty: JsonObject = {"metadata": {}}

        def compute() -> JsonObject:
            applied = apply_configuration(resource.schema_node, empty, config, manager, force=True)
            new = self._prepare_new(resource, applied.item, options, manager)
            new["metadata"]["managedFields"] = applied.managed_fields_of(manager)
            return new

        new = await self.heavy_work.run(_size_of_work(resource, options), compute)
        return await self._insert_new(resource, new, options)

    async def _write_if_changed(
        self,
        resource: ServerResource,
        key: str,
        stored: StoredObject,
        change: "_Change",
        options: WriteOptions,
    ) -> WriteResult:
        """Writes an object if it has changed; removes it if nothing blocks its deletion now."""
        new = change.new
        if change.is_empty:
            return WriteResult(new, stored.data)
        if options.subresource == "status":
            self._check_status(resource, change)
        metadata = new["metadata"]
        if metadata.get("deletionTimestamp") and not is_deletion_blocked(new):
            data = await self.remove(resource, key, new, options)
            return WriteResult(new, data)
        data = await self.put(resource, key, new, options)
        return WriteResult(new, data)

    def _check_status(self, resource: ServerResource, change: _Change) -> None:
        check = self.status_checks.get(resource.group_resource.kind)
        found = self.catalog.find(*check.parameter) if check else None
        if check is None or found is None:
            return
        key = self.key_of(found, check.parameter_namespace, check.parameter_name)
        parameter = self.collection(found.collection_name).latest(key)
        if parameter is not None:
            check.check(resource, change.old, change.new, parameter.decode())

    def _field_manager(
        self, resource: ServerResource, options: WriteOptions, operation: str
    ) -> FieldManager:
        return FieldManager(
            manager=options.field_manager,
            operation=operation,
            api_version=resource.api_version,
            subresource=options.subresource,
            time=format_rfc3339(self.clock.now()),
            owns_status=not resource.has_status or options.subresource not in {"", "scale"},
        )


def _keeps_spec(resource: ServerResource, stored: StoredObject, options: WriteOptions) -> bool:
    """Whether a write may leave the spec as the text that it is: no step of it reads the spec.

    Small objects only, so that without its spec an object has no more values than with it.
    """
    return (
        options.subresource == "status"
        and options.changes_by_field
        and resource.is_custom
        and resource.from_storage_version is None
        and stored.has_spec_apart
        and stored.size + options.size_bytes <= _MAX_KEPT_BYTES
        and reads_no_spec(resource.schema_node)
    )


def _size_of_work(resource: ServerResource, options: WriteOptions) -> int:
    """The bytes that a write counts for; beside the event loop where patterns may take long."""
    size = options.size_bytes
    return max(size, MIN_BYTES) if resource.schema_node.has_slow_patterns else size


def _refuse_uid(resource: ServerResource, config: JsonObject) -> None:
    """Refuses an apply with a uid that would create an object."""
    uid = config["metadata"]["uid"]
    if not resource.is_custom:
        raise conflict(
            resource.group_resource,
            config["metadata"]["name"],
            f"Precondition failed: UID in precondition: {uid}, UID in object meta: ",
        )
    raise_if_invalid(resource, config, [invalid_value("metadata.uid", uid, "field is immutable")])


def _keep_writable_fields(
    resource: ServerResource, config: JsonObject, subresource: str
) -> JsonObject:
    """The part of a configuration that an endpoint accepts: the status, or all but the status."""
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
