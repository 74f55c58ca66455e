"""Deletion: preconditions, finalizers, propagation policy, grace period.

Source: "Garbage Collection", "Finalizers" and DeleteOptions of the Kubernetes documentation.
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from types import MappingProxyType

from scheduler.apiserver.base.bodies import decode_body
from scheduler.apiserver.base.errors import (
    ApiError,
    bad_request,
    conflict,
    forbidden,
    invalid_options,
    not_found,
    status_details,
)
from scheduler.apiserver.base.requests import parse_integer
from scheduler.apiserver.kinds.admission import AllowsFunc, WriteOptions, allow_everything
from scheduler.apiserver.kinds.metadata import format_rfc3339
from scheduler.apiserver.kinds.resources import ServerResource
from scheduler.apiserver.storage.object_store import ObjectStore, is_deletion_blocked
from scheduler.apiserver.storage.stored_object import StoredObject
from scheduler.apiserver.write.access_checks import AccessChecks, check_access
from scheduler.apiserver.write.options import parse_dry_run
from scheduler.hub.schema.json_types import Json, JsonObject
from scheduler.hub.schema.problems import FieldProblem, invalid_value

log = logging.getLogger(__name__)
FOREGROUND_FINALIZER = "foregroundDeletion"
ORPHAN_FINALIZER = "orphan"
_PROPAGATION_POLICIES = ("Background", "Foreground", "Orphan")
_PROTECTED_NAMESPACES = frozenset({"default", "kube-public", "kube-system"})
_MAX_BATCH_OBJECTS = 25
_MAX_BATCH_BYTES = 256 * 1024
_MAX_ATTEMPTS = 5
"""How often a deletion is computed again because the object changed meanwhile."""
_MAX_GRACE_PERIOD_SECONDS = 2**31 - 1
_FINISHED_PHASES = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """The options of a deletion."""

    uid: str = ""
    resource_version: str = ""
    propagation_policy: str = ""
    """Empty: the policy of the object's finalizers, else Background."""
    grace_period_seconds: int | None = None
    dry_run: bool = False
    allows: AllowsFunc = allow_everything
    """The rights of the client beyond the verb of the request."""


def parse_delete_options(query: Mapping[str, str], body: bytes, content_type: str) -> DeleteOptions:
    """Parses DeleteOptions of the body and the query.

    Raises:
        ApiError: 400 (malformed), 422 (invalid values).
    """
    value = decode_body(body, content_type).value if body.strip() else {}
    if not isinstance(value, dict):
        raise bad_request("the body is not DeleteOptions")
    if value.get("kind", "DeleteOptions") != "DeleteOptions":
        raise bad_request(f"the body is a {value.get('kind')}, expected DeleteOptions")
    preconditions = value.get("preconditions") or {}
    if not isinstance(preconditions, dict):
        raise bad_request("DeleteOptions: preconditions is not an object")
    policy = value.get("propagationPolicy") or query.get("propagationPolicy") or ""
    if not policy and value.get("orphanDependents") is not None:
        policy = "Orphan" if value["orphanDependents"] else "Background"
    if value.get("propagationPolicy") and value.get("orphanDependents") is not None:
        why = "orphanDependents and deletionPropagation cannot be both set"
        raise invalid_options(
            "DeleteOptions", [invalid_value("propagationPolicy", value["propagationPolicy"], why)]
        )
    if policy and policy not in _PROPAGATION_POLICIES:
        why = (
            f'Unsupported value: "{policy}": supported values: "Background", "Foreground", '
            '"Orphan", "nil"'
        )
        problem = FieldProblem("FieldValueNotSupported", "propagationPolicy", why)
        raise invalid_options("DeleteOptions", [problem])
    grace = parse_grace_period(
        value.get("gracePeriodSeconds", parse_integer(query, "gracePeriodSeconds"))
    )
    return DeleteOptions(
        uid=str(preconditions.get("uid") or ""),
        resource_version=str(preconditions.get("resourceVersion") or ""),
        propagation_policy=policy,
        grace_period_seconds=grace,
        dry_run=value.get("dryRun") == ["All"] or parse_dry_run("DeleteOptions", query),
    )


def parse_grace_period(value: Json) -> int | None:
    """The grace period of DeleteOptions.

    Raises:
        ApiError: 400 (not a whole number), 422 (out of range).
    """
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise bad_request("DeleteOptions: gracePeriodSeconds is not a whole number")
    if value > _MAX_GRACE_PERIOD_SECONDS:
        why = f"must be at most {_MAX_GRACE_PERIOD_SECONDS}"
        problem = invalid_value("gracePeriodSeconds", value, why)
        raise invalid_options("DeleteOptions", [problem])
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class _Deletion:
    """An object after its deletion: gone, or blocked and marked."""

    item: JsonObject = field(kw_only=False)
    is_blocked: bool
    is_changed: bool


class ObjectDeleter:
    """Deletes objects of a store."""

    def __init__(
        self, store: ObjectStore, access_checks: AccessChecks = MappingProxyType({})
    ) -> None:
        """Takes the store, and what asks for further rights of those who delete."""
        self._store = store
        self._access_checks = access_checks

    async def delete(
        self, resource: ServerResource, namespace: str, name: str, options: DeleteOptions
    ) -> tuple[int, JsonObject]:
        """Deletes an object or marks it for deletion; returns the status code and the body.

        Raises:
            ApiError: 403 (a system namespace, a further right is missing), 404, 409 (a precondition
                fails).
        """
        store = self._store
        if resource.collection_name == "/namespaces" and name in _PROTECTED_NAMESPACES:
            raise forbidden(resource.group_resource, name, "this namespace may not be deleted")
        key = store.key_of(resource, namespace, name)
        collection = store.collection(resource.collection_name)
        for _attempt in range(_MAX_ATTEMPTS):
            stored = collection.latest(key)
            if stored is None:
                raise not_found(resource.group_resource, name)
            size, compute = stored.size, partial(self._compute, resource, stored, options)
            done = await store.heavy_work.run_step(size, compute)
            if collection.latest(key) is stored:
                return await self._write(resource, key, done, options)
        raise conflict(resource.group_resource, name)

    def _compute(
        self, resource: ServerResource, stored: StoredObject, options: DeleteOptions
    ) -> "_Deletion":
        """What a deletion makes of an object."""
        item, before = stored.decode(), stored.decode()
        _check_preconditions(resource, item, options)
        check_access(self._access_checks, resource.group_resource, item, None, options.allows)
        self._mark_for_deletion(resource, item, options)
        is_blocked = is_deletion_blocked(item)
        if not is_blocked and not before["metadata"].get("deletionTimestamp"):
            item["metadata"] = before["metadata"]  # the last state has no deletion timestamp
        return _Deletion(item, is_blocked=is_blocked, is_changed=item != before)

    async def _write(
        self, resource: ServerResource, key: str, done: "_Deletion", options: DeleteOptions
    ) -> tuple[int, JsonObject]:
        write = WriteOptions(dry_run=options.dry_run)
        if done.is_blocked:
            if done.is_changed:
                await self._store.put(resource, key, done.item, write)
            return 200, done.item
        await self._store.remove(resource, key, done.item, write)
        if resource.strategy.returns_deleted:
            return 200, done.item
        return 200, _success_status(resource, done.item)

    async def delete_all(
        self, resource: ServerResource, objects: Iterable[StoredObject], options: DeleteOptions
    ) -> None:
        """Deletes objects in batches that share commits.

        Objects that are already gone and system namespaces are skipped; other failures are logged.

        Raises:
            ApiError: 403, a further right is missing; nothing is deleted.
        """
        objects = list(objects)
        names = resource.group_resource
        if (names.group, names.kind) in self._access_checks:
            for stored in objects:
                check_access(self._access_checks, names, stored.decode(), None, options.allows)
        for batch in _split_batches(objects):
            async with asyncio.TaskGroup() as group:
                for stored in batch:
                    group.create_task(self._delete_one(resource, stored.key, options))

    async def _delete_one(self, resource: ServerResource, key: str, options: DeleteOptions) -> None:
        namespace, _slash, name = key.rpartition("/")
        try:
            await self.delete(resource, namespace, name, options)
        except ApiError as error:
            if error.code not in {403, 404}:  # a system namespace, or already gone
                log.warning("deleting %s %s failed: %s", resource.group_resource.plural, key, error)

    def _mark_for_deletion(
        self, resource: ServerResource, item: JsonObject, options: DeleteOptions
    ) -> None:
        """Marks an object for deletion: timestamp, grace period, finalizers of the policy."""
        metadata = item["metadata"]
        finalizers = [
            name
            for name in metadata.get("finalizers") or ()
            if name not in {FOREGROUND_FINALIZER, ORPHAN_FINALIZER}
        ]
        policy = options.propagation_policy or _propagation_policy_of(metadata)
        if policy == "Foreground":
            finalizers.append(FOREGROUND_FINALIZER)
        elif policy == "Orphan":
            finalizers.append(ORPHAN_FINALIZER)
        own = resource.strategy.deletion_finalizer
        if own and own not in finalizers and not metadata.get("deletionTimestamp"):
            finalizers.append(own)
        if finalizers:
            metadata["finalizers"] = finalizers
        else:
            metadata.pop("finalizers", None)
        grace = _grace_period_seconds_of(resource, item, options)
        if metadata.get("deletionTimestamp"):
            # A second deletion can shorten the grace period, never extend it.
            grace = min(grace, int(metadata.get("deletionGracePeriodSeconds") or 0))
            metadata["deletionGracePeriodSeconds"] = grace
            return
        now = self._store.clock.now()
        metadata["deletionTimestamp"] = format_rfc3339(now + timedelta(seconds=grace))
        metadata["deletionGracePeriodSeconds"] = grace
        if "generation" in metadata:
            metadata["generation"] += 1
        if resource.group_resource.kind == "Namespace" and not resource.group_resource.group:
            item["status"] = {**(item.get("status") or {}), "phase": "Terminating"}


def _split_batches(objects: list[StoredObject]) -> Iterator[list[StoredObject]]:
    batch: list[StoredObject] = []
    size = 0
    for stored in objects:
        batch.append(stored)
        size += stored.size
        if len(batch) == _MAX_BATCH_OBJECTS or size > _MAX_BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _propagation_policy_of(metadata: JsonObject) -> str:
    finalizers = metadata.get("finalizers") or ()
    return (
        "Foreground"
        if FOREGROUND_FINALIZER in finalizers
        else "Orphan"
        if ORPHAN_FINALIZER in finalizers
        else ""
    )


def _grace_period_seconds_of(
    resource: ServerResource, item: JsonObject, options: DeleteOptions
) -> int:
    """The grace period: pods on a node wait for their kubelet, all other objects have none."""
    if resource.group_resource.kind != "Pod" or resource.is_custom:
        return 0
    spec = item.get("spec") or {}
    phase = (item.get("status") or {}).get("phase")
    if not spec.get("nodeName") or phase in _FINISHED_PHASES:
        return 0
    if options.grace_period_seconds is not None:
        return max(0, options.grace_period_seconds)
    wanted = int(spec.get("terminationGracePeriodSeconds") or 0)
    return max(0, min(wanted, _MAX_GRACE_PERIOD_SECONDS))


def _check_preconditions(
    resource: ServerResource, item: JsonObject, options: DeleteOptions
) -> None:
    metadata = item["metadata"]
    checks: tuple[tuple[str, str, Json], ...] = (
        ("UID", options.uid, metadata["uid"]),
        ("ResourceVersion", options.resource_version, metadata["resourceVersion"]),
    )
    for words, wanted, found in checks:
        if wanted and wanted != found:
            raise conflict(
                resource.group_resource,
                metadata["name"],
                f"Precondition failed: {words} in precondition: {wanted}, "
                f"{words} in object meta: {found}",
            )


def _success_status(resource: ServerResource, item: JsonObject) -> JsonObject:
    group_resource, metadata = resource.group_resource, item["metadata"]
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": status_details(
            group_resource.group, group_resource.plural, metadata["name"], uid=metadata["uid"]
        ),
    }
