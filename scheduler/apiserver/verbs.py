"""The verbs on resources: what each method does with a path, a query and a body.

Pure of HTTP machinery: `Call` in, `Answer` out, so that the routes stay in one place.
"""

import copy
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from scheduler.apiserver.base.errors import (
    ApiError,
    bad_request,
    method_not_allowed,
    no_route,
    not_found,
    server_error,
    unsupported_media_type,
)
from scheduler.apiserver.base.requests import (
    APPLY_CBOR,
    APPLY_YAML,
    JSON,
    JSON_PATCH,
    MERGE_PATCH,
    STRATEGIC_PATCH,
    YAML,
    Body,
    ResourcePath,
    decode_body,
    flag,
    media_type,
)
from scheduler.apiserver.kinds.admission import WriteOptions, prune_strictly
from scheduler.apiserver.kinds.core.protobuf import PROTOBUF, decode_protobuf
from scheduler.apiserver.kinds.metadata import rfc3339
from scheduler.apiserver.kinds.resources import Resource
from scheduler.apiserver.kinds.scale import scale_of, with_scale
from scheduler.apiserver.read.lists import Shape, listed, one, page, selection
from scheduler.apiserver.storage.collection import Stored
from scheduler.apiserver.write.deletion import Deletion, delete_options
from scheduler.apiserver.write.options import (
    KINDS,
    check_patch_options,
    field_manager,
    field_validation,
    is_dry_run,
)
from scheduler.apiserver.write.patches import json_patch, merge_patch
from scheduler.apiserver.write.pod_subresources import bound, eviction_options
from scheduler.apiserver.write.strategic_merge import strategic_merge
from scheduler.apiserver.write.writer import Change, Outcome, Registry
from scheduler.hub.schema.json_types import Json, JsonObject

_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Call:
    """One request on a resource."""

    method: str
    path: ResourcePath
    resource: Resource
    query: Mapping[str, str]
    content_type: str
    accept: str
    user_agent: str
    body: bytes
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back."""

    code: int
    body: bytes
    kind: str = "application/json"


class Verbs:
    """The verbs, on one registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._deletion = Deletion(registry)

    async def handle(self, call: Call) -> Answer:
        """Does what a call asks for; watches are not calls.

        Raises:
            ApiError: the answer is an error.
        """
        subresource = call.path.subresource
        if subresource and subresource not in call.resource.subresources:
            raise _no_subresource(call)
        if call.method in {"GET", "HEAD"}:
            return self._get(call) if call.path.name else self._list(call)
        verb = self._verb(call)
        if verb is None and not call.path.name and call.method in {"PUT", "PATCH"}:
            raise bad_request("name must be provided")
        if verb is None:
            raise method_not_allowed(call.resource.subject)
        return await verb(call)

    def _verb(self, call: Call) -> Callable[[Call], Awaitable[Answer]] | None:
        """The function of a method that writes; None where there is none."""
        if not call.path.name:
            return {"POST": self._create, "DELETE": self._delete_collection}.get(call.method)
        if call.path.subresource in {"binding", "eviction"}:
            return self._act_on_pod if call.method == "POST" else None
        if call.method == "DELETE":
            return None if call.path.subresource else self._delete
        return {"PUT": self._put, "PATCH": self._patch}.get(call.method)

    # ------------------------------------------------------------ reading

    def _get(self, call: Call) -> Answer:
        path, resource = call.path, call.resource
        stored = self._registry.read(resource, path.namespace, path.name)
        if path.subresource == "scale":
            return Answer(200, _encode(scale_of(resource, stored.decoded())))
        _check_read_version(call.query)
        shape = Shape.of(call.accept, call.query)
        body = one(resource, stored, shape, self._registry.clock.now())
        return Answer(200, *shape.encoded(body))

    def _list(self, call: Call) -> Answer:
        resource, registry = call.resource, self._registry
        selected = selection(resource, call.query)
        found = page(
            registry.collection(resource.storage),
            call.path.namespace,
            selected,
            call.query,
            registry.revision,
        )
        shape = Shape.of(call.accept, call.query)
        return Answer(200, *shape.encoded(listed(resource, found, shape, registry.clock.now())))

    # ------------------------------------------------------------ writing

    async def _create(self, call: Call) -> Answer:
        resource = call.resource
        if resource.namespaced and not call.path.namespace:
            raise no_route() if resource.custom else method_not_allowed(resource.subject)
        body = _decoded(call)
        options = self._options(call, body)
        done = await self._registry.create(resource, call.path.namespace, body.value, options)
        return self._answer(call, done)

    async def _act_on_pod(self, call: Call) -> Answer:
        """Binds or evicts a pod."""
        path, registry = call.path, self._registry
        body = _decoded(call)
        options = self._options(call, body)
        if path.subresource == "eviction":
            evict = eviction_options(body.value)
            await self._deletion.delete(call.resource, path.namespace, path.name, evict)
        else:
            now = rfc3339(registry.clock.now())
            await registry.update(
                call.resource,
                path.namespace,
                path.name,
                lambda pod: bound(pod, body.value, now),
                options,
            )
        done = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return Answer(201, _encode({**done, "code": 201}))

    async def _put(self, call: Call) -> Answer:
        body = _decoded(call)
        options = self._options(call, body)
        if call.path.subresource == "scale":
            return await self._scale(call, lambda _old: body.value, options)
        value = body.value
        path, resource = call.path, call.resource
        key = self._registry.key(resource, path.namespace, path.name)
        if self._registry.collection(resource.storage).latest(key) is None:
            raise not_found(resource.subject, path.name)
        if isinstance(value, dict):
            prune_strictly(resource, copy.deepcopy(value), options)
            _check_version(resource, value)
        done = await self._update(call, lambda _old: value, options)
        return self._answer(call, done)

    async def _patch(self, call: Call) -> Answer:
        kind = media_type(call.content_type)
        resource = call.resource
        accepted = [JSON_PATCH, MERGE_PATCH, APPLY_YAML, APPLY_CBOR]
        if not resource.custom:
            accepted.insert(2, STRATEGIC_PATCH)
        if kind not in accepted or kind == APPLY_CBOR:
            raise unsupported_media_type(accepted)
        check_patch_options(call.query, applies=kind == APPLY_YAML)
        body = decode_body(call.body, call.content_type)
        options = self._options(call, body)
        if kind == APPLY_YAML:
            return await self._apply(call, body, options)
        if kind != JSON_PATCH and not isinstance(body.value, dict):
            raise bad_request("the patch is not a JSON object")
        change = _change(resource, kind, body.value)
        if call.path.subresource == "scale":
            return await self._scale(call, change, options)
        return self._answer(call, await self._update(call, change, options))

    async def _apply(self, call: Call, body: Body, options: WriteOptions) -> Answer:
        path = call.path
        if path.subresource == "scale":
            return await self._scale(call, lambda old: merge_patch(old, body.value), options)
        options.force = flag(call.query, "force")
        _check_applied_name(body.value, path.name)
        done = await self._registry.apply(
            call.resource, path.namespace, path.name, body.value, options
        )
        return self._answer(call, done)

    async def _scale(self, call: Call, change: Change, options: WriteOptions) -> Answer:
        resource, path = call.resource, call.path

        def scaled(old: JsonObject) -> JsonObject:
            return with_scale(resource, old, change(scale_of(resource, old)))

        done = await self._registry.update(resource, path.namespace, path.name, scaled, options)
        return Answer(200, _encode(scale_of(resource, done.item)))

    async def _update(self, call: Call, change: Change, options: WriteOptions) -> Outcome:
        path = call.path
        return await self._registry.update(
            call.resource, path.namespace, path.name, change, options
        )

    # ------------------------------------------------------------ deleting

    async def _delete(self, call: Call) -> Answer:
        options = delete_options(call.query, call.body, call.content_type)
        path = call.path
        code, item = await self._deletion.delete(call.resource, path.namespace, path.name, options)
        return Answer(code, _encode(item))

    async def _delete_collection(self, call: Call) -> Answer:
        resource = call.resource
        selected = selection(resource, call.query)
        options = delete_options(call.query, call.body, call.content_type)
        collection = self._registry.collection(resource.storage)
        found = page(collection, call.path.namespace, selected, {}, self._registry.revision)
        await self._deletion.delete_all(resource, found.items, options)
        body = listed(resource, found, Shape(), self._registry.clock.now())
        return Answer(200, body)

    # ------------------------------------------------------------ the rest

    def _answer(self, call: Call, done: Outcome) -> Answer:
        resource = call.resource
        code = 201 if done.created else 200
        shape = Shape.of(call.accept, call.query)
        stored = Stored("", 0, done.data)
        body = one(resource, stored, shape, self._registry.clock.now())
        return Answer(code, *shape.encoded(body))

    def _options(self, call: Call, body: Body) -> WriteOptions:
        query, kind = call.query, KINDS[call.method]
        return WriteOptions(
            manager=field_manager(kind, query, call.user_agent),
            dry_run=is_dry_run(kind, query),
            field_validation=field_validation(kind, query),
            patches=call.method == "PATCH",
            subresource=call.path.subresource,
            warnings=call.warnings,
            duplicates=list(body.duplicates),
        )


def _no_subresource(call: Call) -> ApiError:
    """Says what is missing, where people would expect a cluster."""
    if call.resource.subject.plural == "pods" and call.path.subresource in _CONTAINER_VERBS:
        return ApiError(
            501,
            "NotImplemented",
            f"the embedded hub runs no containers and does not serve {call.path.subresource}; "
            "ask the cluster that runs the pod",
        )
    return no_route()


_CONTAINER_VERBS = frozenset(
    {"log", "exec", "attach", "portforward", "proxy", "ephemeralcontainers"}
)


def _check_read_version(query: Mapping[str, str]) -> None:
    version = query.get("resourceVersion", "")
    if version and not version.isdigit():
        raise server_error(
            f'resourceVersion: Invalid value: "{version}": strconv.ParseUint: parsing "{version}": '
            "invalid syntax"
        )


def _check_applied_name(config: Json, name: str) -> None:
    metadata = config.get("metadata") if isinstance(config, dict) else None
    if not isinstance(metadata, dict) or not metadata.get("name"):
        raise bad_request(
            f"the name of the object ({name} based on URL) was undeterminable: "
            "name must be provided"
        )


def _decoded(call: Call) -> Body:
    """The body of a create or an update; core kinds also come as protobuf."""
    if media_type(call.content_type) != PROTOBUF:
        return decode_body(call.body, call.content_type)
    if call.resource.custom:
        raise unsupported_media_type([JSON, YAML])
    subresource = _SUBRESOURCE_KINDS.get(call.path.subresource, call.resource.definition)
    return Body(decode_protobuf(call.body, subresource))


_SUBRESOURCE_KINDS = {
    "binding": "io.k8s.api.core.v1.Binding",
    "eviction": "io.k8s.api.policy.v1.Eviction",
    "scale": "io.k8s.api.autoscaling.v1.Scale",
}


def _check_version(resource: Resource, value: JsonObject) -> None:
    """Custom resources are updated only with the version that the writer has seen."""
    metadata = value.get("metadata")
    if resource.custom and isinstance(metadata, dict) and not metadata.get("resourceVersion"):
        name = metadata.get("name", "")
        raise ApiError(
            422,
            "Invalid",
            f'{resource.subject.qualified} "{name}" is invalid: metadata.resourceVersion: '
            "Invalid value: 0: must be specified for an update",
            {
                "name": name,
                "group": resource.subject.group,
                "kind": resource.subject.plural,
                "causes": [
                    {
                        "reason": "FieldValueInvalid",
                        "message": "Invalid value: 0: must be specified for an update",
                        "field": "metadata.resourceVersion",
                    }
                ],
            },
        )


def _change(resource: Resource, kind: str, patch: Json) -> Change:
    if kind == JSON_PATCH:
        return lambda old: json_patch(old, copy.deepcopy(patch))
    if kind == STRATEGIC_PATCH:
        return lambda old: strategic_merge(resource.node, old, copy.deepcopy(patch))
    return lambda old: merge_patch(old, patch)
