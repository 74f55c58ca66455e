"""The HTTP layer: authenticates requests, routes them, and builds responses.

Only this module uses aiohttp's request and response types.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from http import HTTPStatus
from typing import cast

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from scheduler.apiserver.auth.access_reviews import (
    REVIEW_KINDS,
    answer_review,
    openapi_name_of_review,
)
from scheduler.apiserver.auth.limits import IdentityUsage, UsageByIdentity
from scheduler.apiserver.auth.middleware import AuthMiddleware
from scheduler.apiserver.auth.rbac import OWNER_ROLE, AccessAttributes, Identity, is_allowed
from scheduler.apiserver.auth.storage_limits import set_writer
from scheduler.apiserver.base.bodies import decode_body, media_type_of
from scheduler.apiserver.base.errors import (
    ApiError,
    internal_error,
    resource_not_found,
    too_many_requests,
)
from scheduler.apiserver.base.faults import FaultReporter
from scheduler.apiserver.base.heavy_work import work_owner
from scheduler.apiserver.base.request_counts import CONTENT_TYPE, RequestCounts
from scheduler.apiserver.base.requests import (
    ResourcePath,
    parse_flag,
    parse_resource_path,
)
from scheduler.apiserver.kinds.admission import AllowsFunc
from scheduler.apiserver.kinds.core.protobuf import PROTOBUF, decode_protobuf
from scheduler.apiserver.kinds.not_served import resource_not_served
from scheduler.apiserver.kinds.resources import ServerResource
from scheduler.apiserver.plain_requests import ApiResponse, PlainRequest
from scheduler.apiserver.read.lists import ObjectRepresentation, parse_selectors
from scheduler.apiserver.read.watch import WatchStream, parse_watch_request
from scheduler.apiserver.routes import PUBLIC_PATHS, NonResourceHandler
from scheduler.apiserver.transfer import (
    AnyRequest,
    add_warnings,
    make_compressed_response,
    make_response,
    read_body,
    send_parts,
    send_within_time,
)
from scheduler.apiserver.verbs import ResourceRequest, VerbHandler, VerbResponse
from scheduler.apiserver.write.writer import ObjectWriter
from scheduler.hub.schema.json_types import Json, JsonObject

_encode = msgspec.json.Encoder().encode
_STATUS_GROUPS = frozenset(
    {"", "apps", "batch", "events.k8s.io", "coordination.k8s.io", "apiextensions.k8s.io"}
)
"""API groups whose unknown resources get a Status; below other paths the 404 is plain text."""
_MAX_WATCHES = 1_000
_WRITE_TIMEOUT_SECONDS = 30.0
"""A watch whose client accepts no data for this long is closed; the client can resume it."""

_METRICS_PATH = "/metrics"

AnyResponse = ApiResponse | web.StreamResponse

WarningFunc = Callable[[JsonObject], list[str]]
"""Returns warnings about a written object, for the client that wrote it."""
_WRITE_METHODS = frozenset({"POST", "PUT", "PATCH"})


class HttpHandler:
    """Handles every request of the server."""

    def __init__(
        self,
        *,
        writer: ObjectWriter,
        auth_middleware: AuthMiddleware,
        usage: UsageByIdentity,
        warning_funcs: Mapping[str, WarningFunc],
        faults: FaultReporter,
    ) -> None:
        self._writer = writer
        self._auth_middleware = auth_middleware
        self._usage = usage
        self._warning_funcs = warning_funcs
        self._faults = faults
        self.mark_known: Callable[[AnyRequest], None] = lambda _request: None
        """Called when a request has shown a valid token."""
        self._non_resource_handler = NonResourceHandler(writer.catalog, writer.heavy_work)
        self._verb_handler = VerbHandler(writer)
        self._watch_tasks: set[asyncio.Task[None]] = set()
        self._open_watch_count = 0
        self._counts = RequestCounts()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Handles a request; every error becomes a Status."""
        answer = await self._answer(request)
        if not isinstance(answer, ApiResponse):
            return answer
        response = web.Response(status=answer.status, body=answer.body, headers=answer.headers)
        try:
            await send_within_time(request, response)
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001 - the barrier of requests
            self._report(request, error)
            raise _abort(request, "the response failed") from None
        return response

    async def handle_plain(self, request: PlainRequest) -> ApiResponse:
        """Handles a plain request; every error becomes a Status."""
        answer = await self._answer(request)
        if isinstance(answer, ApiResponse):
            return answer
        raise _abort(request, "a plain request has no stream")

    async def _answer(self, request: AnyRequest) -> AnyResponse:
        try:
            return await self._route(request)
        except ApiError as error:
            return _status_response(error)
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001 - the barrier of requests
            self._report(request, error)
            return _status_response(internal_error(type(error).__name__))

    def _report(self, request: AnyRequest, error: Exception) -> None:
        self._faults.report("api-request", f"{request.method} {request.path}", error)

    async def _route(self, request: AnyRequest) -> AnyResponse:
        self._auth_middleware.check_host_and_origin(request.headers)
        path = request.path
        if path in PUBLIC_PATHS:
            return await self._handle_non_resource(request, path)
        identity = self._auth_middleware.authenticate(request.headers)
        work_owner.set(identity.name)
        set_writer(identity)
        self.mark_known(request)
        if "Impersonate-User" in request.headers:
            raise ApiError(
                403,
                "Forbidden",
                "the embedded hub does not support impersonation; "
                "create a token of the role with: kapok hub token",
            )
        target = parse_resource_path(path)
        if path == _METRICS_PATH:
            return self._render_metrics(request, identity)
        if target is None:
            return await self._handle_non_resource(request, path)
        if (target.group, target.plural) in REVIEW_KINDS and request.method == "POST":
            return await self._handle_access_review(request, target, identity)
        resource = self._writer.catalog.find(target.group, target.version, target.plural)
        if resource is None and (error := resource_not_served(target.group, target.plural)):
            raise error
        if resource is None or (target.namespace and not resource.namespaced):
            known = target.group in _STATUS_GROUPS
            return _status_response(resource_not_found()) if known else _plain_not_found()
        return await self._handle_counted(request, target, resource, identity)

    def _render_metrics(self, request: AnyRequest, identity: Identity) -> ApiResponse:
        if identity.role != OWNER_ROLE:
            message = f'forbidden: User "{identity.name}" cannot get path "{_METRICS_PATH}"'
            raise ApiError(403, "Forbidden", message)
        if request.method not in {"GET", "HEAD"}:
            raise resource_not_found()
        headers = CIMultiDict({"Content-Type": CONTENT_TYPE})
        return ApiResponse(HTTPStatus.OK, self._counts.render(), headers)

    async def _handle_counted(
        self,
        request: AnyRequest,
        target: ResourcePath,
        resource: ServerResource,
        identity: Identity,
    ) -> AnyResponse:
        """Handles a request on a resource that is served, and counts it."""
        is_watch = request.method == "GET" and parse_flag(request.query, "watch")
        code: int = HTTPStatus.OK if is_watch else HTTPStatus.INTERNAL_SERVER_ERROR
        try:
            response = await self._handle_resource(request, target, resource, identity)
            code = response.status
        except ApiError as error:
            code = error.code
            raise
        finally:
            subresource = target.subresource
            self._counts.add(
                group=target.group,
                version=target.version,
                plural=target.plural,
                subresource=subresource if subresource in resource.subresources else "",
                method="WATCH" if is_watch else request.method,
                code=code,
            )
        return response

    async def _handle_non_resource(self, request: AnyRequest, path: str) -> ApiResponse:
        if request.method not in {"GET", "HEAD"}:
            raise resource_not_found()
        try:
            kind, body = await self._non_resource_handler.response_of(
                path, request.headers.get("Accept", "")
            )
        except ApiError as error:
            if error.code != 404 or path.startswith("/api/"):  # noqa: PLR2004 - HTTP's Not Found
                raise
            return _plain_not_found()
        tag = f'"{hashlib.sha256(body).hexdigest()[:32].upper()}"'
        if request.headers.get("If-None-Match") == tag:
            return ApiResponse(HTTPStatus.NOT_MODIFIED, b"", CIMultiDict({"ETag": tag}))
        response = await make_compressed_response(request, 200, body, kind)
        response.headers["ETag"] = tag
        if request.query.get("hash", "-") == tag.strip('"'):
            response.headers["Cache-Control"] = "public, immutable"
        return response

    async def _handle_resource(
        self,
        request: AnyRequest,
        resource_path: ResourcePath,
        resource: ServerResource,
        identity: Identity,
    ) -> AnyResponse:
        watches = (
            request.method == "GET"
            and not resource_path.name
            and parse_flag(request.query, "watch")
        )
        attributes = _access_attributes_of(request.method, resource_path, is_watch=watches)
        if not is_allowed(identity, attributes):
            raise attributes.forbidden_error(identity)
        if watches:
            return await self._handle_watch(_for_stream(request), resource_path, resource, identity)
        usage = self._usage.of(identity)
        body = await read_body(request)
        usage.charge_bytes(len(body))
        resource_request = ResourceRequest(
            method=request.method,
            path=resource_path,
            resource=resource,
            query=request.query,
            content_type=request.headers.get("Content-Type", ""),
            accept=request.headers.get("Accept", ""),
            user_agent=request.headers.get("User-Agent", ""),
            body=body,
            warnings=[resource.deprecation_warning] if resource.deprecation_warning else [],
            allows=_further_rights(identity, resource.group_resource.group),
        )
        answer = await self._verb_handler.handle(resource_request)
        if answer.parts is not None:
            streamed = _for_stream(request)
            return await self._send_list(streamed, resource_request, answer, answer.parts, usage)
        usage.charge_bytes(len(answer.body))
        response = await make_compressed_response(
            request, answer.status_code, answer.body, answer.content_type
        )
        object_warnings = await self._object_warnings(resource_request, answer)
        add_warnings(response, [*resource_request.warnings, *object_warnings])
        return response

    async def _send_list(
        self,
        request: web.BaseRequest,
        resource_request: ResourceRequest,
        answer: VerbResponse,
        parts: AsyncIterator[bytes],
        usage: IdentityUsage,
    ) -> web.StreamResponse:
        """Sends a large list while it is encoded."""
        headers = {"Content-Type": answer.content_type, "Cache-Control": "no-cache, private"}
        response = web.StreamResponse(headers=headers)
        add_warnings(response, resource_request.warnings)
        try:
            await send_parts(request, response, parts, usage.charge_bytes)
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001 - the barrier of lists that have begun
            self._faults.report("api-request", f"{request.method} {request.path}", error)
            raise _abort(request, "the list failed; the client asks again") from None
        return response

    async def _object_warnings(
        self, resource_request: ResourceRequest, response: VerbResponse
    ) -> list[str]:
        """Warnings about an object that was accepted."""
        resource = resource_request.resource
        kind = resource.group_resource.kind
        warning_func = self._warning_funcs.get(kind)
        is_write = (
            resource_request.method in _WRITE_METHODS and not resource_request.path.subresource
        )
        if not is_write or response.status_code >= HTTPStatus.BAD_REQUEST:
            return []
        if resource.strategy.not_enforced and not resource.is_custom:
            return [f"{kind} {resource.strategy.not_enforced}"]
        if warning_func is None or not response.written:
            return []
        return await self._writer.heavy_work.run(
            len(response.written), lambda: warning_func(msgspec.json.decode(response.written))
        )

    async def _handle_access_review(
        self, request: AnyRequest, resource_path: ResourcePath, identity: Identity
    ) -> ApiResponse:
        """Answers an access review."""
        key = (resource_path.group, resource_path.plural)
        data = await read_body(request)
        kind = request.headers.get("Content-Type", "")

        def decode() -> Json:
            if media_type_of(kind) == PROTOBUF:
                return decode_protobuf(data, openapi_name_of_review(*key))
            return decode_body(data, kind).value

        item = await self._writer.heavy_work.run(len(data), decode)
        return make_response(201, _encode(answer_review(identity, REVIEW_KINDS[key], item)))

    # ------------------------------------------------------------ watches

    async def _handle_watch(
        self,
        request: web.BaseRequest,
        resource_path: ResourcePath,
        resource: ServerResource,
        identity: Identity,
    ) -> web.StreamResponse:
        query = request.query
        watch_request = parse_watch_request(
            resource,
            resource_path.namespace,
            parse_selectors(resource, query),
            ObjectRepresentation.negotiate(request.headers.get("Accept", ""), query),
            query,
        )
        if self._open_watch_count >= _MAX_WATCHES:
            raise too_many_requests(
                f"{self._open_watch_count} watches are open, the limit of this server"
            )
        collection = self._writer.collection(resource.collection_name)
        watch = WatchStream(
            request=watch_request,
            collection=collection,
            clock=self._writer.clock,
            current_revision=lambda: self._writer.revision,
            heavy_work=self._writer.heavy_work,
        )
        response = web.StreamResponse(
            headers={"Content-Type": "application/json", "Cache-Control": "no-cache, private"}
        )
        usage = self._usage.of(identity)
        with usage.open_watch():
            self._open_watch_count += 1
            try:
                await self._stream_watch(request, response, usage.meter(watch.stream_lines()))
            finally:
                self._open_watch_count -= 1
        return response

    async def _stream_watch(
        self, request: web.BaseRequest, response: web.StreamResponse, lines: AsyncIterator[bytes]
    ) -> None:
        await response.prepare(request)
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._watch_tasks.add(task)
        try:
            async for line in lines:
                async with asyncio.timeout(_WRITE_TIMEOUT_SECONDS):
                    await response.write(line)
        except (TimeoutError, ConnectionError):
            raise _abort(request, "the watch client accepts no data") from None
        except Exception as error:  # noqa: BLE001 - the barrier of watches
            self._faults.report("api-watch", f"watch {request.path}", error)
            raise _abort(request, "the watch failed; the client resumes it") from None
        finally:
            self._watch_tasks.discard(task)

    def end_watches(self) -> None:
        """Ends all watches, when the server stops."""
        for task in list(self._watch_tasks):
            task.cancel()


_VERB_BY_METHOD = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def _further_rights(identity: Identity, group: str) -> AllowsFunc:
    """Whether an identity has further rights in an API group."""

    def allows(verb: str, resource: str, namespace: str, name: str) -> bool:
        attributes = AccessAttributes(
            verb=verb, group=group, resource=resource, namespace=namespace, name=name
        )
        return is_allowed(identity, attributes)

    return allows


def _access_attributes_of(
    method: str, resource_path: ResourcePath, *, is_watch: bool
) -> AccessAttributes:
    """The verb and the resource of a request, as access rules name them."""
    verb = _VERB_BY_METHOD.get(method, "get" if resource_path.name else "list")
    if is_watch:
        verb = "watch"
    elif method == "DELETE" and not resource_path.name:
        verb = "deletecollection"
    resource = resource_path.plural
    if resource_path.subresource:
        resource += f"/{resource_path.subresource}"
    return AccessAttributes(
        verb=verb,
        group=resource_path.group,
        resource=resource,
        namespace=resource_path.namespace,
        name=resource_path.name,
    )


def _for_stream(request: AnyRequest) -> web.BaseRequest:
    """The request of a response that is sent in parts, which no plain request asks for."""
    if isinstance(request, PlainRequest):
        raise _abort(request, "a plain request has no stream")
    return request


def _abort(request: AnyRequest, why: str) -> ConnectionResetError:
    """Closes the connection of a response that has begun; the client sees that it is cut."""
    if request.transport is not None:
        request.transport.abort()
    return ConnectionResetError(why)


def _plain_not_found() -> ApiResponse:
    """The 404 for paths below no served group: plain text, as on a real server."""
    headers = CIMultiDict({"Content-Type": "text/plain; charset=utf-8"})
    return ApiResponse(HTTPStatus.NOT_FOUND, b"404 page not found\n", headers)


def _status_response(error: ApiError) -> ApiResponse:
    headers = CIMultiDict({"Content-Type": "application/json", **error.headers})
    return ApiResponse(error.code, _encode(error.to_status()), headers)
