"""The verbs on resources: get, list, create, update, patch, apply, delete and deletecollection.

A verb turns a `ResourceRequest` into a `VerbResponse` and knows nothing of aiohttp. Watches are
handled in `http.py`, because they stream.
"""

import copy
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

import msgspec

from scheduler.apiserver.base.bodies import (
    APPLY_CBOR,
    APPLY_YAML,
    JSON,
    JSON_PATCH,
    MAX_BODY_BYTES,
    MERGE_PATCH,
    STRATEGIC_PATCH,
    YAML,
    RequestBody,
    decode_body,
    media_type_of,
)
from scheduler.apiserver.base.errors import (
    ApiError,
    bad_request,
    method_not_allowed,
    not_found,
    resource_not_found,
    unsupported_media_type,
)
from scheduler.apiserver.base.requests import (
    ResourcePath,
    check_resource_version,
    parse_flag,
)
from scheduler.apiserver.kinds.admission import (
    AllowsFunc,
    WriteOptions,
    allow_everything,
    prune_unknown_fields,
)
from scheduler.apiserver.kinds.core.protobuf import PROTOBUF, decode_protobuf
from scheduler.apiserver.kinds.metadata import format_rfc3339
from scheduler.apiserver.kinds.not_served import subresource_not_served
from scheduler.apiserver.kinds.resources import ServerResource
from scheduler.apiserver.kinds.scale import (
    apply_scale,
    check_has_replicas,
    scale_of,
    scale_to_patch,
)
from scheduler.apiserver.read.bodies import ListEncoder, encode_object, needs_decoding
from scheduler.apiserver.read.lists import (
    ListPage,
    ObjectRepresentation,
    parse_selectors,
    read_page,
)
from scheduler.apiserver.read.pod_logs import log_of
from scheduler.apiserver.storage.stored_object import StoredObject
from scheduler.apiserver.write.deletion import (
    DeleteOptions,
    ObjectDeleter,
    parse_delete_options,
)
from scheduler.apiserver.write.merge_patch import apply_merge_patch
from scheduler.apiserver.write.options import (
    OPTIONS_KINDS,
    check_patch_options,
    parse_dry_run,
    parse_field_manager,
    parse_field_validation,
)
from scheduler.apiserver.write.patches import (
    check_applied_name,
    patch_transform,
    require_resource_version,
)
from scheduler.apiserver.write.pod_subresources import bind_pod, parse_eviction_options
from scheduler.apiserver.write.writer import ObjectWriter, TransformFunc, WriteResult
from scheduler.hub.schema.json_types import JsonObject

_BYTES_PER_LISTED_OBJECT = 100
_MAX_WHOLE_BYTES = 256 * 1024
"""Larger lists are sent while they are encoded."""
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceRequest:
    """A request on a resource."""

    method: str
    path: ResourcePath
    resource: ServerResource
    query: Mapping[str, str]
    content_type: str
    accept: str
    user_agent: str
    body: bytes
    warnings: list[str] = field(default_factory=list)
    """Texts for Warning headers; the verb adds to them."""
    allows: AllowsFunc = allow_everything
    """Further rights of the client."""


@dataclass(frozen=True, slots=True)
class VerbResponse:
    """The response to a `ResourceRequest`."""

    status_code: int
    body: bytes
    content_type: str = "application/json"
    parts: AsyncIterator[bytes] | None = None
    """The body of a large list, instead of `body`: it is encoded while it is sent."""
    written: bytes = b""
    """The JSON of the object that was written, whatever form the client asked for."""


class VerbHandler:
    """Executes verbs on the objects of one writer."""

    def __init__(self, writer: ObjectWriter) -> None:
        self._writer = writer
        self._deleter = ObjectDeleter(writer, writer.access_checks)

    async def handle(self, request: ResourceRequest) -> VerbResponse:
        """Executes the verb of a request other than a watch.

        Raises:
            ApiError: the request is refused.
        """
        subresource = request.path.subresource
        if subresource and subresource not in request.resource.subresources:
            raise _subresource_error(request)
        if request.method in {"GET", "HEAD"}:
            return await (self._get(request) if request.path.name else self._list(request))
        verb = self._write_handler_of(request)
        if verb is None and not request.path.name and request.method in {"PUT", "PATCH"}:
            raise bad_request("name must be provided")
        if verb is None:
            raise method_not_allowed(request.resource.group_resource)
        return await verb(request)

    def _write_handler_of(
        self, request: ResourceRequest
    ) -> Callable[[ResourceRequest], Awaitable[VerbResponse]] | None:
        """The method of a writing verb; None if the path does not support it."""
        if not request.path.name:
            return {"POST": self._create, "DELETE": self._delete_collection}.get(request.method)
        if request.path.subresource in {"binding", "eviction"}:
            return self._bind_or_evict if request.method == "POST" else None
        if request.method == "DELETE":
            return None if request.path.subresource else self._delete
        return {"PUT": self._put, "PATCH": self._patch}.get(request.method)

    # ------------------------------------------------------------ reading

    async def _get(self, request: ResourceRequest) -> VerbResponse:
        path, resource = request.path, request.resource
        stored = self._writer.get(resource, path.namespace, path.name)
        if path.subresource == "scale":
            item = stored.decode()
            check_has_replicas(resource, item)
            return VerbResponse(200, _encode(scale_of(resource, item)))
        if path.subresource == "log":
            return VerbResponse(200, log_of(stored.decode(), request.query), "text/plain")
        check_resource_version(request.query)
        return await self._object_response(request, stored, 200)

    async def _list(self, request: ResourceRequest) -> VerbResponse:
        shape = ObjectRepresentation.negotiate(request.accept, request.query)
        shape.check_fits(request.resource.list_kind, is_list=True)
        page = await self._read_page(request, request.query)
        return await self._list_response(request, page, shape)

    async def _read_page(self, request: ResourceRequest, query: Mapping[str, str]) -> ListPage:
        """Reads a page; one for which objects have to be decoded is read in the thread."""
        writer, namespace = self._writer, request.path.namespace
        selected = parse_selectors(request.resource, request.query)
        collection, revision = writer.collection(request.resource.collection_name), writer.revision
        size = len(collection.objects) * _BYTES_PER_LISTED_OBJECT if selected else 0
        # The thread reads a copy, because the event loop changes the collection meanwhile.
        objects = collection.copy() if size else collection
        return await writer.heavy_work.run(
            size, lambda: read_page(objects, namespace, selected, query, revision)
        )

    async def _list_response(
        self, request: ResourceRequest, page: ListPage, shape: ObjectRepresentation
    ) -> VerbResponse:
        encoder = ListEncoder(
            resource=request.resource,
            page=page,
            representation=shape,
            now=self._writer.clock.now(),
            heavy_work=self._writer.heavy_work,
        )
        if page.size_bytes > _MAX_WHOLE_BYTES:
            return VerbResponse(200, b"", shape.content_type, encoder.parts())
        body = b"".join([part async for part in encoder.parts()])
        return VerbResponse(200, body, shape.content_type)

    # ------------------------------------------------------------ writing

    async def _create(self, request: ResourceRequest) -> VerbResponse:
        resource = request.resource
        if resource.namespaced and not request.path.namespace:
            raise (
                resource_not_found()
                if resource.is_custom
                else method_not_allowed(resource.group_resource)
            )
        body = await self._decode(request, lambda: _decode_write_body(request))
        options = self._parse_write_options(request, body)
        done = await self._writer.create(resource, request.path.namespace, body.value, options)
        return await self._write_response(request, done)

    async def _bind_or_evict(self, request: ResourceRequest) -> VerbResponse:
        """Binds or evicts a pod, by POST to its subresource."""
        path, writer = request.path, self._writer
        body = await self._decode(request, lambda: _decode_write_body(request))
        options = self._parse_write_options(request, body)
        if path.subresource == "eviction":
            evict = parse_eviction_options(body.value)
            await self._deleter.delete(request.resource, path.namespace, path.name, evict)
        else:
            now = format_rfc3339(writer.clock.now())
            await writer.update(
                request.resource,
                path.namespace,
                path.name,
                lambda pod: bind_pod(pod, body.value, now),
                options,
            )
        done = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return VerbResponse(201, _encode({**done, "code": 201}))

    async def _put(self, request: ResourceRequest) -> VerbResponse:
        body = await self._decode(request, lambda: _decode_write_body(request))
        options = self._parse_write_options(request, body)
        if request.path.subresource == "scale":
            return await self._update_scale(request, lambda _old: body.value, options)
        value = body.value
        path, resource = request.path, request.resource
        key = self._writer.key_of(resource, path.namespace, path.name)
        if self._writer.collection(resource.collection_name).latest(key) is None:
            raise not_found(resource.group_resource, path.name)
        if isinstance(value, dict):
            await self._writer.heavy_work.run(
                len(request.body),
                lambda: prune_unknown_fields(resource, copy.deepcopy(value), options),
            )
            require_resource_version(resource, value)
        done = await self._update(request, lambda _old: value, options)
        return await self._write_response(request, done)

    async def _patch(self, request: ResourceRequest) -> VerbResponse:
        kind = media_type_of(request.content_type)
        resource = request.resource
        accepted = [JSON_PATCH, MERGE_PATCH, APPLY_YAML, APPLY_CBOR]
        if not resource.is_custom:
            accepted.insert(2, STRATEGIC_PATCH)
        if kind not in accepted or kind == APPLY_CBOR:
            raise unsupported_media_type(accepted)
        check_patch_options(request.query, is_apply=kind == APPLY_YAML)
        body = await self._decode(request, lambda: decode_body(request.body, request.content_type))
        options = self._parse_write_options(request, body)
        if kind == APPLY_YAML:
            return await self._apply(request, body, options)
        if kind != JSON_PATCH and not isinstance(body.value, dict):
            raise bad_request("the patch is not a JSON object")
        change = patch_transform(resource, kind, body.value)
        if request.path.subresource == "scale":
            return await self._update_scale(request, change, options)
        return await self._write_response(request, await self._update(request, change, options))

    async def _apply(
        self, request: ResourceRequest, body: RequestBody, options: WriteOptions
    ) -> VerbResponse:
        path = request.path
        if path.subresource == "scale":
            return await self._update_scale(
                request, lambda old: apply_merge_patch(old, body.value), options
            )
        check_applied_name(body.value, path.name)
        done = await self._writer.apply(
            request.resource, path.namespace, path.name, body.value, options
        )
        return await self._write_response(request, done)

    async def _update_scale(
        self, request: ResourceRequest, transform: TransformFunc, options: WriteOptions
    ) -> VerbResponse:
        resource, path = request.resource, request.path

        def scaled(old: JsonObject) -> JsonObject:
            return apply_scale(resource, old, transform(scale_to_patch(resource, old)))

        done = await self._writer.update(resource, path.namespace, path.name, scaled, options)
        return VerbResponse(200, _encode(scale_of(resource, done.item)))

    async def _update(
        self, request: ResourceRequest, transform: TransformFunc, options: WriteOptions
    ) -> WriteResult:
        path = request.path
        return await self._writer.update(
            request.resource, path.namespace, path.name, transform, options
        )

    # ------------------------------------------------------------ deleting

    async def _delete(self, request: ResourceRequest) -> VerbResponse:
        options = await self._delete_options(request)
        path = request.path
        code, item = await self._deleter.delete(
            request.resource, path.namespace, path.name, options
        )
        return VerbResponse(code, _encode(item))

    async def _delete_collection(self, request: ResourceRequest) -> VerbResponse:
        options = await self._delete_options(request)
        page = await self._read_page(request, {})
        await self._deleter.delete_all(request.resource, page.items, options)
        return await self._list_response(request, page, ObjectRepresentation())

    async def _delete_options(self, request: ResourceRequest) -> DeleteOptions:
        options = await self._writer.heavy_work.run(
            len(request.body),
            lambda: parse_delete_options(request.query, request.body, request.content_type),
        )
        return replace(options, allows=request.allows)

    # ------------------------------------------------------------ shared steps

    async def _decode(
        self, request: ResourceRequest, decode: Callable[[], RequestBody]
    ) -> RequestBody:
        return await self._writer.heavy_work.run(len(request.body), decode)

    async def _write_response(self, request: ResourceRequest, result: WriteResult) -> VerbResponse:
        stored = StoredObject("", 0, result.data)
        response = await self._object_response(request, stored, 201 if result.created else 200)
        return replace(response, written=result.data)

    async def _object_response(
        self, request: ResourceRequest, stored: StoredObject, code: int
    ) -> VerbResponse:
        resource = request.resource
        shape = ObjectRepresentation.negotiate(request.accept, request.query)
        shape.check_fits(resource.group_resource.kind, is_list=False)
        size = stored.size if needs_decoding(resource, shape) else 0
        now = self._writer.clock.now()
        body = await self._writer.heavy_work.run(
            size, lambda: encode_object(resource, stored, shape, now)
        )
        return VerbResponse(code, body, shape.content_type)

    def _parse_write_options(self, request: ResourceRequest, body: RequestBody) -> WriteOptions:
        query, kind = request.query, OPTIONS_KINDS[request.method]
        return WriteOptions(
            field_manager=parse_field_manager(kind, query, request.user_agent),
            dry_run=parse_dry_run(kind, query),
            field_validation=parse_field_validation(kind, query),
            force=parse_flag(query, "force"),  # only an apply may set it: `check_patch_options`
            is_patch=request.method == "PATCH",
            changes_by_field=media_type_of(request.content_type) == MERGE_PATCH,
            subresource=request.path.subresource,
            warnings=request.warnings,
            # A few bytes of a JSON patch can copy a megabyte.
            size_bytes=MAX_BODY_BYTES if b'"copy"' in request.body else len(request.body),
            duplicate_fields=list(body.duplicate_fields),
            allows=request.allows,
        )


def _subresource_error(request: ResourceRequest) -> ApiError:
    """The error for an unknown subresource; one that other servers have gets an explanation."""
    name = request.resource.group_resource
    plural = "" if name.group else name.plural
    return subresource_not_served(plural, request.path.subresource) or resource_not_found()


def _decode_write_body(request: ResourceRequest) -> RequestBody:
    """Decodes the body of a create or an update; for core kinds it may be protobuf."""
    if media_type_of(request.content_type) != PROTOBUF:
        return decode_body(request.body, request.content_type)
    if request.resource.is_custom:
        raise unsupported_media_type([JSON, YAML])
    subresource = _SUBRESOURCE_DEFINITIONS.get(
        request.path.subresource, request.resource.openapi_name
    )
    return RequestBody(decode_protobuf(request.body, subresource))


_SUBRESOURCE_DEFINITIONS = {
    "binding": "io.k8s.api.core.v1.Binding",
    "eviction": "io.k8s.api.policy.v1.Eviction",
    "scale": "io.k8s.api.autoscaling.v1.Scale",
}
