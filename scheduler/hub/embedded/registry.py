"""How an object becomes another: the one way from a request to the disk.

Every write runs the same steps: defaults, pruning, what the kind does, generation, validation,
field ownership; then it gets the next resource version and goes to the store; readers and watchers
see it once it is on disk. All steps up to the store happen without a pause of the event loop, so
that two writers can never overtake each other.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from scheduler.clock import Clock
from scheduler.hub.cel import rule_problems
from scheduler.hub.embedded.apply import Applied, apply
from scheduler.hub.embedded.collection import Collection, Stored
from scheduler.hub.embedded.errors import (
    Subject,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    internal,
    invalid,
    not_found,
    server_error,
)
from scheduler.hub.embedded.managed import Writer, after_update, ordered, usable_entries
from scheduler.hub.embedded.metadata import (
    carry_over,
    check_shape,
    metadata_problems,
    place,
    refuse,
    rfc3339,
    stamp_new,
)
from scheduler.hub.embedded.resources import Catalog, Resource
from scheduler.hub.embedded.store import Row, Store
from scheduler.hub.embedded.typed_patch import check_typed
from scheduler.hub.jsontypes import Json, JsonObject
from scheduler.hub.schema import (
    FieldProblem,
    apply_defaults,
    drop_nulls,
    invalid_value,
    prune,
    quoted,
    validate,
)

log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode
_OBJECT_LIMIT_BYTES = 1_572_864
"""As etcd's request limit of 1.5 MiB."""

_HIDE_RULES = frozenset(
    {
        "FieldValueRequired",
        "FieldValueTypeInvalid",
        "FieldValueTooLong",
        "FieldValueTooMany",
        "FieldValueDuplicate",
    }
)
_RULES_UNCHECKED = FieldProblem(
    "FieldValueInvalid",
    "<nil>",
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation",
)
"""Said instead of rules that could stumble over a wrong type or a missing field."""

Change = Callable[[JsonObject], Json]


@dataclass(slots=True)
class WriteOptions:
    """How a write is meant."""

    manager: str = "unknown"
    dry_run: bool = False
    field_validation: str = "Warn"
    force: bool = False
    subresource: str = ""
    applies: bool = False
    patches: bool = False
    """Whether the new object comes from a patch: refusals are worded for that."""
    warnings: list[str] = field(default_factory=list)
    """Filled by the write, for `Warning` headers."""
    duplicates: list[str] = field(default_factory=list)
    """Keys that the body had twice, as the reader of the body found them."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a write left."""

    item: JsonObject
    data: bytes
    created: bool = False
    deleted: bool = False


class Registry:
    """All collections, and the writes to them."""

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
        new = self._checked(resource, item, None, options)
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
        return self._checked(resource, new, old, options)

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
        )

    # ------------------------------------------------------------ checks

    def _checked(
        self,
        resource: Resource,
        item: JsonObject,
        old: JsonObject | None,
        options: WriteOptions,
    ) -> JsonObject:
        """The object, defaulted, pruned and found right, in stored form."""
        if resource.from_view is not None:
            item = resource.from_view(item)
        kept = _unchanged(item, old)
        self.strict(resource, item, options)
        if not (options.applies and resource.custom):
            drop_nulls(resource.node, item)
        apply_defaults(resource.node, item)
        item |= kept
        behaviour = resource.behaviour
        behaviour.defaults(item)
        if old is None:
            behaviour.on_create(item)
        else:
            behaviour.on_update(item, old)
            self._count_generation(resource, item, old)
        problems = metadata_problems(resource, item, old)
        problems += validate(resource.node, item, old=old, has_old=old is not None)
        _refuse_unreadable(resource, problems)
        problems += behaviour.problems(item, old)
        if resource.custom and any(one.reason in _HIDE_RULES for one in problems):
            problems.append(_RULES_UNCHECKED)
        elif resource.node.has_rules:
            problems += rule_problems(resource.node, item, old)
        refuse(resource, item, problems)
        return item

    @staticmethod
    def strict(resource: Resource, item: JsonObject, options: WriteOptions) -> None:
        """Prunes unknown fields, and says so in the way that was asked for."""
        unknown = [
            f'unknown field "{path}"'
            for path in sorted(prune(resource.node, item, root=True), key=_field_order)
        ]
        found = [*unknown, *(f'duplicate field "{path}"' for path in options.duplicates)]
        if not found:
            return
        if options.field_validation == "Strict":
            kind, words = resource.subject.kind, f"strict decoding error: {', '.join(found)}"
            if options.patches:
                raise invalid(_NOTHING, "", [invalid_value("patch", quoted(item)[:512], words)])
            raise bad_request(
                f'{kind} in version "{resource.version}" cannot be handled as a {kind}: {words}'
            )
        if options.field_validation == "Warn":
            options.warnings.extend(line for line in found if line not in options.warnings)

    @staticmethod
    def _count_generation(resource: Resource, item: JsonObject, old: JsonObject) -> None:
        if not resource.behaviour.has_generation:
            return
        keys = (set(item) | set(old)) - {"metadata", "status"}
        if any(item.get(key) != old.get(key) for key in keys):
            item["metadata"]["generation"] = int(old["metadata"].get("generation", 0)) + 1

    # ------------------------------------------------------------ the disk

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


_NOTHING = Subject("", "", "")


def _field_order(path: str) -> tuple[int, str]:
    """Metadata first, then the other fields, the spec last: the order of the real server."""
    top = path.partition(".")[0]
    return ({"metadata": 0, "spec": 2}.get(top, 1), path)


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


def holds(item: JsonObject) -> bool:
    """Whether something keeps an object that is to be deleted."""
    metadata = item["metadata"]
    if metadata.get("finalizers") or (
        item.get("kind") == "Namespace" and item["spec"].get("finalizers")
    ):
        return True
    return bool(metadata.get("deletionGracePeriodSeconds"))


def _unchanged(item: JsonObject, old: JsonObject | None) -> JsonObject:
    """Takes out what is as it was stored, which needs no pruning and no defaults."""
    if old is None:
        return {}
    same = [
        key
        for key, value in item.items()
        if key not in _ALWAYS_READ and key in old and old[key] == value
    ]
    return {key: item.pop(key) for key in same}


_ALWAYS_READ = frozenset({"apiVersion", "kind", "metadata"})


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


def _refuse_unreadable(resource: Resource, problems: list[FieldProblem]) -> None:
    """Core kinds answer a wrong type with 400, for they cannot even be decoded."""
    if resource.custom:
        return
    for problem in problems:
        if problem.reason == "FieldValueTypeInvalid":
            kind = resource.subject.kind
            raise bad_request(
                f'{kind} in version "{resource.version}" cannot be handled as a {kind}: '
                f"json: cannot unmarshal: {problem.field}: {problem.message}"
            )
